"""Keeps every event of Cuepost in a SQLite file, each once, whatever dies: this program, the broker, or the machine between.

AMQP_URL=... python deploy/examples/audit_consumer.py events.sqlite        (AMQP_URL: in .local/stack.env)

Its queue is durable: what happens while it is away waits there (at most 256 MB and a week). An event is acknowledged after it is on
disk, so none is lost; one that comes again is known by its id, so none is doubled. Where one cannot be kept (a full disk), or its
queue is deleted, it ends with 1 and says why: started again, it goes on. Needs aio-pika, and nothing of Cuepost.
"""

import asyncio
import json
import os
import sqlite3
import sys

import aio_pika
from aio_pika.exceptions import ChannelInvalidStateError

QUEUE = "audit.example"  # A user may only have queues that begin with its name and a dot


async def main(path: str) -> None:
    """Keep events in the file at `path` until ended."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, time TEXT, subject TEXT, body TEXT)")
    reasons: asyncio.Queue[str] = asyncio.Queue()

    async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        row = (event["id"], event["type"], event["time"], event["subject"], message.body.decode())
        try:
            with database:  # One transaction; on disk when the block ends.
                database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", row)
            await message.ack()
        except ChannelInvalidStateError:
            return  # The connection is gone: the event comes again, and is known then.
        except sqlite3.Error as error:
            reasons.put_nowait(f"{path} does not take an event: {error}")  # Not acknowledged: it comes again.

    async def watch(*_: object) -> None:
        cancelled = (await channel.get_underlay_channel()).on_consumer_cancel_callbacks
        cancelled.add(lambda _: reasons.put_nowait(f"{QUEUE} was deleted, with the events that waited there"))

    # While the broker is away it is tried again every second, also before the first time (`fail_fast` would end it then).
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"], timeout=10, reconnect_interval=1, fail_fast=False)
    async with connection:
        channel = await connection.channel()
        channel.reopen_callbacks.add(watch)
        await watch()
        await channel.set_qos(prefetch_count=100)
        queue = await channel.declare_queue(QUEUE, durable=True)
        await queue.bind("cuepost.events", "#")
        await queue.consume(keep)
        print("listening", flush=True)
        sys.exit(f"ended: {await reasons.get()}")  # Until then a lost connection is made again, the queue consumed again.


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
