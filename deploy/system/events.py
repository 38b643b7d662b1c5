"""Events as the audit user sees them, recorded in the background over any broker restart."""

import asyncio
import secrets
import threading
from typing import Any, Self

import aio_pika
import orjson


class EventRecorder:
    """Records every event from the moment `start` returned. Its `queue` is durable, so a broker restart loses none."""

    def __init__(self, amqp_url: str) -> None:
        self._url = amqp_url
        self.queue = f"audit.test.{secrets.token_hex(4)}"
        self._events: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._record(),), daemon=True)

    def start(self) -> Self:
        """Begin; returns once the queue is bound."""
        self._thread.start()
        if not self._ready.wait(15):
            raise AssertionError("the audit queue could not be bound")
        return self

    def stop(self) -> None:
        """End and remove the queue."""
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(15)

    def of(self, subject: str, key: str) -> list[dict[str, Any]]:
        """Return the recorded events of an aggregate by key (`publisher.publish.started`), each id once."""
        found = {
            event["id"]: event
            for event in list(self._events)
            if event["subject"] == subject and event["type"] == f"cuepost.{key}.v1"
        }
        return list(found.values())

    def about(self, subject: str) -> list[dict[str, Any]]:
        """Return the recorded events of an aggregate, each id once, as they came."""
        return list({event["id"]: event for event in list(self._events) if event["subject"] == subject}.values())

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return what was recorded after the first `number` events."""
        return self._events[number:]

    def recorded(self) -> bytes:
        """Return every recorded event as JSON, one per line."""
        return b"\n".join(orjson.dumps(event) for event in list(self._events))

    async def _record(self) -> None:
        connection = await aio_pika.connect_robust(self._url, timeout=10, reconnect_interval=0.2)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(self.queue, durable=True)
            await queue.bind("cuepost.events", "#")
            await queue.consume(self._take)
            self._ready.set()
            await self._done.wait()
            await queue.delete(if_unused=False, if_empty=False)

    async def _take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self._events.append(orjson.loads(message.body))
        await message.ack()
