"""Keeps one test's queues from another's: notes every queue declared in this process and deletes it afterwards."""

from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import aiormq
import pytest

CONNECT_SECONDS = 5.0

Declare = Callable[..., Awaitable[Any]]


class QueueRecorder:
    """Notes the names of queues declared through aiormq (aio-pika and FastStream use it) while it is installed."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to note; the monkeypatch ends it."""
        original: Declare = aiormq.Channel.queue_declare
        names = self._names

        async def noting(channel: aiormq.Channel, queue: str = "", **arguments: Any) -> Any:
            if queue and not arguments.get("passive") and not arguments.get("exclusive"):
                names.add(queue)
            return await original(channel, queue, **arguments)

        monkeypatch.setattr(aiormq.Channel, "queue_declare", noting)

    async def delete_all(self, url: str) -> None:
        """Delete the noted queues with whatever they hold; one that is gone already is fine."""
        if not self._names:
            return
        connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
        async with connection:
            channel = await connection.channel(publisher_confirms=False)
            while self._names:
                await channel.queue_delete(self._names.pop())
