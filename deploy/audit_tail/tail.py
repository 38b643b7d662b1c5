"""Receives events as the audit user may: over a queue of its own, bound to the event exchange, gone when it leaves."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

import aio_pika
from aio_pika.exceptions import AMQPConnectionError, ProbableAuthenticationError
from aiormq.exceptions import AMQPError
from yarl import URL

EVENTS = "cuepost.events"
CONNECT_SECONDS = 10.0
PAUSE_SECONDS = 1.0


async def tail(url: str, patterns: Sequence[str], show: Callable[[bytes], None], notice: Callable[[str], None]) -> None:
    """Show every event whose routing key fits a pattern, from now on, until cancelled.

    A connection that is lost is made again; `notice` says so, since what came between was not seen. Raises
    ProbableAuthenticationError when the broker does not let it in.
    """
    while True:
        try:
            await _until_lost(url, patterns, show, notice)
        except ProbableAuthenticationError:
            raise
        except (AMQPConnectionError, AMQPError, OSError, TimeoutError) as error:
            notice(f"no broker ({type(error).__name__}); trying again")
        else:
            notice("the connection was lost; events until the next line that says `watching` are not seen")
        await asyncio.sleep(PAUSE_SECONDS)


async def _until_lost(url: str, patterns: Sequence[str], show: Callable[[bytes], None], notice: Callable[[str], None]) -> None:
    async def receive(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        show(message.body)

    lost = asyncio.Event()
    connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
    connection.close_callbacks.add(lambda *_: lost.set())
    async with connection:
        channel = await connection.channel()
        # Named after the user, as its rights want it, and anew each time: the old queue stays locked for a while after a cut.
        queue = await channel.declare_queue(f"{URL(url).user}.tail.{secrets.token_hex(4)}", exclusive=True)
        for pattern in patterns:
            await queue.bind(EVENTS, pattern)
        await queue.consume(receive, no_ack=True)
        notice(f"watching {', '.join(patterns)}")
        await lost.wait()
