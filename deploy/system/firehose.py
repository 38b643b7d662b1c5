"""Every message that a stack's broker takes, wherever it is published to: events, commands, replies, retries, dead letters.

Replies and dead letters go to queues by name, through an exchange that nothing can be bound to; so RabbitMQ's own tracing
("firehose") is turned on, which copies whatever is published.
"""

import asyncio
import subprocess
import threading
from collections import defaultdict
from typing import Self

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage

from localstack.rabbitmq import broker_url, server_environment
from localstack.rabbitmq_install import find_server
from localstack.stack import Stack

EXCHANGE = "amq.rabbitmq.trace"
PUBLISHED = "publish.#"
REPLIES, TO_QUEUES = "replies", "queues by name"
_COMMAND_SECONDS = 120


class Firehose:
    """Keeps the bodies and headers of all messages that are published inside its `with`."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._messages: defaultdict[str, list[bytes]] = defaultdict(list)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._listen(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(60):
            raise AssertionError("the firehose could not be listened to")
        self._control("trace_on")
        return self

    def __exit__(self, *_: object) -> None:
        self._control("trace_off")
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(60)

    def published(self) -> dict[str, bytes]:
        """Return what was published: by exchange, replies to commands, and what else went to a queue by its name."""
        return {place: b"\n".join(list(messages)) for place, messages in list(self._messages.items())}

    def _control(self, command: str) -> None:
        server = find_server()
        if server is None:
            raise AssertionError("rabbitmq-server is not found, though the stack runs it")
        done = subprocess.run(
            [str(server.with_name("rabbitmqctl")), command],
            env=server_environment(self._stack.paths, self._stack.ports),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"rabbitmqctl {command}: {done.stdout}{done.stderr}")

    async def _listen(self) -> None:
        url = broker_url(self._stack.secrets, self._stack.ports, "admin")
        async with await aio_pika.connect(url, timeout=10) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(EXCHANGE, PUBLISHED)
            await queue.consume(self._take, no_ack=True)
            self._ready.set()
            await self._done.wait()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        exchange, keys = str(message.headers["exchange_name"]), message.headers["routing_keys"]
        if not exchange:
            exchange = REPLIES if "gateway.replies." in str(keys) else TO_QUEUES
        told = orjson.dumps(message.headers["properties"], default=str)
        self._messages[exchange].append(message.body + b"\n" + told)
