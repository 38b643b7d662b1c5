"""Watching a post live, as any event consumer may: a queue of the audit user's own, bound to the event exchange."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import orjson

EVENTS = "cuepost.events"


@asynccontextmanager
async def watching(amqp_url: str) -> AsyncIterator["asyncio.Queue[dict[str, Any]]"]:
    """Give a queue that receives every event (CloudEvents JSON) from now on."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        events.put_nowait(orjson.loads(message.body))

    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"audit.demo.{secrets.token_hex(4)}", exclusive=True)
        await queue.bind(EVENTS, "#")
        await queue.consume(receive, no_ack=True)
        yield events
