"""Keeps every event of Cuepost in a SQLite file, each once, whatever dies: this program, the broker, or the machine between.

AMQP_URL=... python deploy/examples/audit_consumer.py events.sqlite        (AMQP_URL: in .local/stack.env)

Its queue is durable: what happens while it is away waits there (at most 256 MB and a week). An event is acknowledged after it is on
disk, so none is lost; one that comes again is known by its id, so none is doubled. Where one cannot be kept (a full disk), it ends
with 1 and says why: started again, it goes on with that one. Needs aio-pika, and nothing of Cuepost.
"""

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import suppress

import aio_pika
from aio_pika.exceptions import ChannelInvalidStateError

QUEUE = "audit.example"  # A user may only have queues that begin with its name and a dot
TABLE = "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, time TEXT, subject TEXT, body TEXT)"


async def main(path: str) -> None:
    """Keep events in the file at `path` until ended."""
    database = sqlite3.connect(path)
    database.execute(TABLE)
    failed = asyncio.get_running_loop().create_future()

    async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        row = (event["id"], event["type"], event["time"], event["subject"], message.body.decode())
        try:
            with database:  # One transaction; on disk when the block ends.
                database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            if not failed.done():
                failed.set_exception(error)
            return  # Not acknowledged: it comes again.
        with suppress(ChannelInvalidStateError):  # The connection is gone: the event comes again, and is known then.
            await message.ack()

    # While the broker is away it is tried again every second, also before the first time (`fail_fast` would end it then).
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"], timeout=10, reconnect_interval=1, fail_fast=False)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        queue = await channel.declare_queue(QUEUE, durable=True)
        await queue.bind("cuepost.events", "#")
        await queue.consume(keep)
        print("listening", flush=True)
        await failed  # Until it is ended; a lost connection is made again, the queue consumed again.


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except sqlite3.Error as failure:
        sys.exit(f"ended: {sys.argv[1]} does not take an event: {failure}")
