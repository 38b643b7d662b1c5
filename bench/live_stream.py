"""1,000 live streams at one gateway: its memory, and how long an event takes to its readers, and a revocation to its stream."""

import asyncio
import math
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import psutil
from fastapi import FastAPI

from bench.figures import verdict
from bench.programs import gateway_alone
from common.clock import utc_now
from common.contracts.accounts import AccountUpdated, SessionRevoked
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.messaging.topology import EVENTS
from common.testing.http_server import serving
from common.testing.keys import UserKeys
from common.testing.servers import TestServers

STREAMS, USERS = 1_000, 200
ROUNDS, PAUSE_S = 300, 0.05
"""One event of one user each, read by the user's five streams."""
REVOKED = 100
"""Sessions that are revoked, one after the other; accounts tells of a logout by this event, at its commit."""
PATIENCE_S = 60.0
GOAL_MB, GOAL_MS, GOAL_END_MS = 200.0, 200.0, 1_000.0
_SENT_AT = re.compile(rb'"display_name":"([0-9.]+)"')


class Readers:
    """Clients that read and note how old each event is when it comes."""

    def __init__(self) -> None:
        self.opened = 0
        self.ages_ms: list[float] = []
        self.ended_at: dict[str, float] = {}
        self.changed = asyncio.Event()

    async def read(self, address: str, session: str, token: str) -> None:
        """Follow one stream until it ends, or until cancelled."""
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        try:
            while line := await reader.readline():
                if line.startswith(b"retry:"):
                    self.opened += 1
                elif line.startswith(b"data:") and (found := _SENT_AT.search(line)) is not None:
                    self.ages_ms.append((time.perf_counter() - float(found[1])) * 1000)
                elif line == b"event: closed\n":
                    self.ended_at[session] = time.perf_counter()
                self.changed.set()
        finally:
            writer.close()

    async def until_ended(self, number: int) -> None:
        """Wait until so many streams have told that they end."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.ended_at) < number:
                self.changed.clear()
                await self.changed.wait()

    async def until_opened(self, number: int) -> None:
        """Wait for so many streams."""
        async with asyncio.timeout(PATIENCE_S):
            while self.opened < number:
                self.changed.clear()
                await self.changed.wait()

    async def until_read(self, number: int) -> None:
        """Wait for so many events."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.ages_ms) < number:
                self.changed.clear()
                await self.changed.wait()


async def run(servers: TestServers) -> None:
    """Open the streams, publish events of their users, print the table."""
    users = [uuid4() for _ in range(USERS)]
    readers = Readers()
    with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
        async with _gateway(servers.rabbitmq_url, Path(folder)) as (address, process, keys):
            before = _megabytes(process)
            sessions = {str(uuid4()): users[number % USERS] for number in range(STREAMS)}
            tasks = [
                asyncio.create_task(readers.read(address, session, keys.token(user, session_id=session)))
                for session, user in sessions.items()
            ]
            try:
                await readers.until_opened(STREAMS)
                opened, began = _megabytes(process), _processor_seconds(process)
                await _publish(servers.rabbitmq_url, users)
                await readers.until_read(ROUNDS * STREAMS // USERS)
                used, after = _processor_seconds(process) - began, _megabytes(process)
                revoked_at = await _revoke(servers.rabbitmq_url, dict(list(sessions.items())[:REVOKED]))
                await readers.until_ended(REVOKED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    ends = sorted((readers.ended_at[session] - moment) * 1000 for session, moment in revoked_at.items())
    _show((before, opened, after), sorted(readers.ages_ms), ends, used)


def _show(megabytes: tuple[float, float, float], ages: list[float], ends: list[float], used: float) -> None:
    before, opened, after = megabytes
    p50, p99 = ages[len(ages) // 2], ages[math.ceil(len(ages) * 0.99) - 1]
    slowest = ends[-1]
    print(
        f"\n{STREAMS} live streams of {USERS} users; {ROUNDS} events, each read by the {STREAMS // USERS} streams of its user\n"
    )
    print("| | measured | goal | |\n|---|---|---|---|")
    print(f"| gateway before, PSS | {before:.0f} MB | | |")
    for name, value in (("with all streams open", opened), ("after the events", after)):
        print(f"| {name} | {value:.0f} MB | < {GOAL_MB:.0f} MB | {verdict(name, value < GOAL_MB)} |")
    print(f"| from publishing to the reader, p50 | {p50:.1f} ms | | |")
    print(f"| p99 | {p99:.1f} ms | < {GOAL_MS:.0f} ms | {verdict('to the reader', p99 < GOAL_MS)} |")
    print(
        f"| from the revocation of a session to the end of its stream, p50 of {len(ends)} | {ends[len(ends) // 2]:.1f} ms | | |"
    )
    word = verdict("end of a stream", slowest < GOAL_END_MS)
    print(f"| the slowest | {slowest:.1f} ms | < {GOAL_END_MS:.0f} ms | {word} |")
    print(f"| processor time of the gateway | {used:.2f} s | | |")


async def _publish(amqp_url: str, users: list[UUID]) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EVENTS.name, type="topic", durable=True)
        for number in range(ROUNDS):
            user_id = users[number % USERS]
            event = AccountUpdated(
                account_id=uuid4(),
                user_id=user_id,
                tiktok_user_id="open-id",
                username="somebody",
                display_name=str(time.perf_counter()),
                status="active",
                scopes=[],
            )
            envelope = wrap(event, service="accounts", subject=str(event.account_id), context=Context(user_id=user_id))
            await exchange.publish(aio_pika.Message(envelope.to_bytes()), routing_key=envelope.key)
            await asyncio.sleep(PAUSE_S)


async def _revoke(amqp_url: str, sessions: dict[str, UUID]) -> dict[str, float]:
    """Revoke each session, one at a time; returns when."""
    revoked_at: dict[str, float] = {}
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EVENTS.name, type="topic", durable=True)
        for session, user_id in sessions.items():
            expire_at = utc_now() + timedelta(hours=1)
            event = SessionRevoked(session_id=UUID(session), user_id=user_id, reason="logout", tokens_expire_at=expire_at)
            envelope = wrap(event, service="accounts", subject=session, context=Context(user_id=user_id))
            revoked_at[session] = time.perf_counter()
            await exchange.publish(aio_pika.Message(envelope.to_bytes()), routing_key=envelope.key)
            await asyncio.sleep(PAUSE_S / 5)
    return revoked_at


@asynccontextmanager
async def _gateway(amqp_url: str, folder: Path) -> AsyncIterator[tuple[str, int, UserKeys]]:
    """Run a gateway beside a stand-in for accounts (its keys, and that nothing was revoked)."""
    keys, app = UserKeys(), FastAPI(openapi_url=None)

    @app.get("/.well-known/jwks.json")
    async def jwks() -> dict[str, Any]:
        return keys.jwks()

    @app.get("/internal/revocations")
    async def revocations() -> dict[str, Any]:
        return {"items": [], "next_since": "2026-01-01T00:00:00Z", "has_more": False}

    async with serving(app) as accounts_url, gateway_alone(accounts_url, amqp_url, folder) as (address, process):
        yield address, process, keys


def _megabytes(process: int) -> float:
    full = psutil.Process(process).memory_full_info()
    return (getattr(full, "pss", 0) or full.uss) / 1e6


def _processor_seconds(process: int) -> float:
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)
