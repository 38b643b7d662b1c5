"""Analytics as it runs, on real PostgreSQL and RabbitMQ, and events to feed it."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractExchange
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from sqlalchemy import func, select

from analytics.app import wire
from analytics.settings import Settings
from analytics.storage.tables import records
from analytics.usecases.verify_audit import verify_audit
from common.auth.keys import private_key_text
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.publisher import PublishStarted
from common.contracts.scheduler import PostScheduled
from common.database import Database
from common.ids import uuid7
from common.testing.amqp import broker_channel
from common.testing.eventually import eventually
from common.testing.forked_programs import ForkedProgram, ForkedPrograms
from common.testing.http_server import free_port, jwks_app, serving
from common.testing.keys import ServiceKeys, UserKeys


@dataclass
class Analytics:
    """A running service and the broker it listens to."""

    http: httpx.AsyncClient
    database: Database
    exchange: AbstractExchange
    user_keys: UserKeys
    service_keys: ServiceKeys
    owner_url: str

    async def tell(self, *messages: Envelope | bytes, odd: str = "odd.body.sent.v1") -> None:
        """Publish to the event exchange, as relays do; what is no envelope by the key `odd`."""
        for message in messages:
            body = message if isinstance(message, bytes) else message.to_bytes()
            key = odd if isinstance(message, bytes) else message.key
            await self.exchange.publish(Message(body, delivery_mode=DeliveryMode.PERSISTENT), key)

    async def stored(self) -> int:
        """How many events are stored."""
        async with self.database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(records)) or 0)

    async def stored_exactly(self, number: int) -> None:
        """Wait until that many events are stored and the queue holds nothing more."""
        await eventually(lambda: self._settled(number))

    async def _settled(self, number: int) -> bool:
        assert await self.stored() == number
        return True

    async def rows(self) -> list[dict[str, Any]]:
        """All records, in the order of their events' ids."""
        async with self.database.read() as connection:
            found = (await connection.execute(select(records).order_by(records.c.id))).mappings()
            return [dict(row) for row in found]

    async def proven(self) -> int:
        """How many records the chain holds, each in its place."""
        async with self.database.read() as connection:
            return (await verify_audit(connection, trusted=())).records

    async def audit(self, user_id: UUID, **params: Any) -> dict[str, Any]:
        """Read a page of a user's audit trail."""
        answer = await self.http.get("/internal/audit", params=params, headers=self.user_keys.authorization(user_id))
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    @staticmethod
    def scheduled(user_id: UUID, *, post_id: UUID | None = None, sequence: int = 1, **context: Any) -> Envelope:
        post_id = post_id or uuid7()
        event = PostScheduled(post_id=post_id, account_id=uuid7(), status="scheduled", attempt=0, scheduled_time=None)
        by = Context(user_id=user_id, actor=f"user:{user_id}", **context)
        return wrap(event, service="scheduler", subject=str(post_id), context=by, sequence=sequence)

    @staticmethod
    def started(post_id: UUID, user_id: UUID, *, cause: Envelope | None = None) -> Envelope:
        now = "2026-11-21T07:00:00Z"
        event = PublishStarted.model_validate(
            {"post_id": post_id, "attempt": 1, "job_id": uuid7(), "account_id": uuid7(), "replica": "publisher-1"}
            | {"due_at": now, "started_at": now, "lateness_ms": 3.0}
        )
        context = Context(user_id=user_id, actor="service:publisher", causation_id=str(cause.id) if cause else None)
        return wrap(event, service="publisher", subject=str(post_id), context=context, sequence=1)


@pytest.fixture(scope="session")
def audit_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def settings_at(service_keys: ServiceKeys, audit_key: Ed25519PrivateKey) -> Callable[[str], Settings]:
    """Return a function from a database's address to settings with which nobody speaks to a broker."""

    def made(url: str) -> Settings:
        return Settings(
            database_url=SecretStr(url),
            amqp_url=SecretStr("amqp://nobody@localhost"),
            service_private_key=service_keys.private_text("analytics"),
            service_public_keys=service_keys.public_texts(),
            audit_signing_key=private_key_text(audit_key),
        )

    return made


@pytest.fixture
def settings_for(
    clean_database: Callable[[str], Awaitable[str]], broker_url: str, service_keys: ServiceKeys, audit_key: Ed25519PrivateKey
) -> Callable[..., Awaitable[Settings]]:
    async def make(accounts_url: str, **overrides: Any) -> Settings:
        return Settings(
            database_url=await clean_database("analytics"),
            amqp_url=broker_url,
            accounts_url=accounts_url,
            service_private_key=service_keys.private_text("analytics"),
            service_public_keys=service_keys.public_texts(),
            audit_signing_key=private_key_text(audit_key),
            **({"tiktok_api_url": "http://127.0.0.1:1"} | overrides),
        )

    return make


@pytest.fixture
async def analytics(
    settings_for: Callable[..., Awaitable[Settings]],
    broker_url: str,
    user_keys: UserKeys,
    service_keys: ServiceKeys,
    as_owner: Callable[[str], str],
) -> AsyncIterator[Analytics]:
    async with serving(jwks_app(user_keys)) as accounts_url, broker_channel(broker_url) as channel:
        settings = await settings_for(accounts_url)
        database = Database(settings.database_url, application_name="test")
        async with serving(wire(settings)) as url, httpx.AsyncClient(base_url=url, timeout=10) as http:
            await eventually(lambda: ready(http))
            exchange = await channel.declare_exchange("cuepost.events", ExchangeType.TOPIC, durable=True)
            owner_url = as_owner(settings.database_url.get_secret_value())
            yield Analytics(http, database, exchange, user_keys, service_keys, owner_url)
        await database.stop()


def environment_of(settings: Settings, **changes: str) -> dict[str, str]:
    """Return the environment in which a process has these settings."""
    given: dict[str, str] = {}
    for name, value in settings:
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if plain is not None:
            given[name.upper()] = plain if isinstance(plain, str) else json.dumps(plain)
    kept = {name: value for name, value in os.environ.items() if name == "PATH"}
    return {**kept, **given, **changes}


@pytest.fixture
def process(
    program_log: Callable[[str], Path], forked_programs: ForkedPrograms
) -> Callable[..., AbstractAsyncContextManager[ForkedProgram]]:
    """Return a function that runs `python -m analytics` until it is killed; given once it is ready."""

    @asynccontextmanager
    async def run(settings: Settings, instance: str) -> AsyncIterator[ForkedProgram]:
        port, path = free_port(), program_log("analytics")
        environment = environment_of(settings, HTTP_PORT=str(port), SERVICE_INSTANCE=instance)
        process = await forked_programs.start("analytics", environment, path)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:

                async def is_ready() -> bool:
                    assert process.returncode is None, path.read_text()
                    try:
                        return (await http.get("/readyz")).status_code == 200
                    except httpx.TransportError:
                        return False

                await eventually(is_ready, timeout=60)
            yield process
        finally:
            process.kill()
            await process.wait()

    return run


async def ready(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/readyz")
    assert answer.status_code == 200, answer.text
    return True
