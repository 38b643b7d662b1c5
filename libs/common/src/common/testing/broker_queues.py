"""Keeps one test's queues from another's: notes every queue declared in this process and deletes it afterwards."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aio_pika
import aiormq
import pytest
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from common.messaging.topology import dead_letter_name

CONNECT_SECONDS = 5.0
DEAD = dead_letter_name("")
DEAD_LETTERS_KEPT = 1_000

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

    async def delete_all(self, url: str, *, keep: Callable[[bytes, Any], None] | None = None) -> None:
        """Delete the noted queues with whatever they hold; one that is gone already is fine.

        `keep` is given body and headers of up to 1,000 dead letters of each queue first.
        """
        if not self._names:
            return
        connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
        async with connection:
            channel = await connection.channel(publisher_confirms=False)
            if keep is not None:
                for name in filter(_holds_dead_letters, self._names):
                    await _show(connection, name, keep)
            while self._names:
                await channel.queue_delete(self._names.pop())


def _holds_dead_letters(name: str) -> bool:
    return name.endswith(DEAD)


async def _show(connection: AbstractConnection, name: str, keep: Callable[[bytes, Any], None]) -> None:
    # A channel of its own: the broker closes it when the queue is gone already.
    channel = await connection.channel(publisher_confirms=False)
    with suppress(ChannelNotFoundEntity):
        for _ in range(DEAD_LETTERS_KEPT):
            answer = await (await channel.get_queue(name, ensure=False)).get(no_ack=True, fail=False)
            if answer is None:
                break
            keep(answer.body, dict(answer.headers))
        await channel.close()
