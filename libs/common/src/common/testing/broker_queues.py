"""Keeps one test's queues from another's: notes every queue declared in this process, and empties or deletes it afterwards.

To make and to delete a quorum queue takes the broker thirty times as long as to empty it, and a service has a dozen: those of
services stay for the next test of a file.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aio_pika
import aiormq
import pytest
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from common.contracts.queues import WORK_QUEUES
from common.messaging.topology import RETRY_TIERS, dead_letter_name, retries_of

CONNECT_SECONDS = 5.0
DEAD = dead_letter_name("")
DEAD_LETTERS_KEPT = 1_000
OF_SERVICES = frozenset(
    [
        *(tier.queue.name for tier in RETRY_TIERS),
        *(name for queue in WORK_QUEUES for name in (queue, dead_letter_name(queue), *retries_of(queue))),
    ]
)
LOOKS_FOR_CONSUMERS, LOOK_SECONDS = 50, 0.02
"""How often, and how far apart: the broker takes a moment to see that a consumer has ended, and has given back what it held."""

Call = Callable[..., Awaitable[Any]]
Keep = Callable[[bytes, Any], None]
Bindings = defaultdict[str, set[tuple[str, str]]]


class QueueRecorder:
    """Notes the queues declared through aiormq (aio-pika and FastStream use it), and their bindings, while it is installed."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        """Of this test; those of earlier ones that stayed are in `_arguments`."""
        self._arguments: dict[str, Any] = {}
        self._altered: set[str] = set()
        """Those that are no longer what their service has made."""
        self._made: Bindings = defaultdict(set)
        """What a test has bound; `_bound` is what is bound."""
        self._bound: Bindings = defaultdict(set)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to note; the monkeypatch ends it."""
        declare: Call = aiormq.Channel.queue_declare
        delete: Call = aiormq.Channel.queue_delete
        bind: Call = aiormq.Channel.queue_bind
        unbind: Call = aiormq.Channel.queue_unbind

        async def declaring(channel: aiormq.Channel, queue: str = "", **options: Any) -> Any:
            if queue and not options.get("passive") and not options.get("exclusive"):
                arguments = (options.get("durable"), options.get("auto_delete"), options.get("arguments"))
                if self._arguments.setdefault(queue, arguments) != arguments and queue not in self._names:
                    # An earlier test's, which this one would have found gone.
                    await channel.queue_delete(queue)
                    self._arguments[queue] = arguments
                self._names.add(queue)
            return await declare(channel, queue, **options)

        async def deleting(channel: aiormq.Channel, queue: str = "", *args: Any, **options: Any) -> Any:
            self._forget(queue)
            return await delete(channel, queue, *args, **options)

        async def binding(
            channel: aiormq.Channel, queue: str, exchange: str, routing_key: str = "", *args: Any, **options: Any
        ) -> Any:
            self._made[queue].add((exchange, routing_key))
            self._bound[queue].add((exchange, routing_key))
            return await bind(channel, queue, exchange, routing_key, *args, **options)

        async def unbinding(
            channel: aiormq.Channel, queue: str, exchange: str = "", routing_key: str = "", *args: Any, **options: Any
        ) -> Any:
            if (exchange, routing_key) in self._bound[queue]:
                self._altered.add(queue)
            return await unbind(channel, queue, exchange, routing_key, *args, **options)

        for name, noting in {"declare": declaring, "delete": deleting, "bind": binding, "unbind": unbinding}.items():
            monkeypatch.setattr(aiormq.Channel, f"queue_{name}", noting)

    async def end_test(self, url: str, *, keep: Keep | None = None) -> None:
        """Empty the queues that are services' and as this test has made them; delete the others, as `delete_all` does."""
        left = self._names | set(self._arguments)
        if not left:
            return
        stay = [name for name in self._names if self._may_stay(name)]
        connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
        async with connection:
            # First what sends on what it holds.
            for name in sorted(stay, key=lambda name: (".retry." not in name, name.endswith(DEAD))):
                if await _emptied(connection, name, keep):
                    left.discard(name)
            await self._delete(connection, left, keep)
        self._begin()

    async def delete_all(self, url: str, *, keep: Keep | None = None) -> None:
        """Delete the noted queues with whatever they hold, those that stayed too; one that is gone already is fine.

        `keep` is given body and headers of up to 1,000 dead letters of each queue first.
        """
        left = self._names | set(self._arguments)
        if not left:
            return
        connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
        async with connection:
            await self._delete(connection, left, keep)
        self._begin()

    def _begin(self) -> None:
        for noted in (self._names, self._made, self._altered):
            noted.clear()

    async def _delete(self, connection: AbstractConnection, names: set[str], keep: Keep | None) -> None:
        channel = await connection.channel(publisher_confirms=False)
        for name in sorted(names):
            if keep is not None and _holds_dead_letters(name):
                await _show(connection, name, keep)
            await channel.queue_delete(name)
            self._forget(name)

    def _may_stay(self, name: str) -> bool:
        durable, _, arguments = self._arguments.get(name, (False, False, None))
        quorum = bool(durable) and (arguments or {}).get("x-queue-type") == "quorum"
        as_made = name not in self._altered and self._made[name] == self._bound[name]
        return quorum and as_made and name in OF_SERVICES

    def _forget(self, name: str) -> None:
        self._arguments.pop(name, None)
        for bindings in (self._made, self._bound):
            bindings.pop(name, None)


def _holds_dead_letters(name: str) -> bool:
    return name.endswith(DEAD)


async def _emptied(connection: AbstractConnection, name: str, keep: Keep | None) -> bool:
    """Empty a queue; False when it is gone, or somebody still consumes it."""
    # A channel of its own: the broker closes it when the queue is gone already.
    channel = await connection.channel(publisher_confirms=False)
    try:
        for _ in range(LOOKS_FOR_CONSUMERS):
            found = (await channel.declare_queue(name, passive=True)).declaration_result
            if not found.consumer_count:
                break
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return False
        if found.message_count:
            if keep is not None and _holds_dead_letters(name):
                await _show(connection, name, keep)
            await (await channel.get_queue(name, ensure=False)).purge()
        await channel.close()
    except ChannelNotFoundEntity:
        return False
    return True


async def _show(connection: AbstractConnection, name: str, keep: Keep) -> None:
    # A channel of its own: the broker closes it when the queue is gone already.
    channel = await connection.channel(publisher_confirms=False)
    with suppress(ChannelNotFoundEntity):
        for _ in range(DEAD_LETTERS_KEPT):
            answer = await (await channel.get_queue(name, ensure=False)).get(no_ack=True, fail=False)
            if answer is None:
                break
            keep(answer.body, dict(answer.headers))
        await channel.close()
