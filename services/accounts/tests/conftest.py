"""Accounts as it runs, on real PostgreSQL and RabbitMQ, with the TikTok simulator behind it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import asyncpg
import httpx
import pytest
from aio_pika import ExchangeType
from asgi_lifespan import LifespanManager
from cryptography.fernet import Fernet
from pydantic import SecretStr

from accounts.app import wire
from accounts.settings import Settings
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.message import Command
from common.database import Database
from common.ids import uuid7
from common.messaging.command_client import CommandClient
from common.messaging.reply import Reply
from common.testing.amqp import broker_channel
from common.testing.eventually import eventually
from common.testing.keys import ServiceKeys
from tiktok_simulator.settings import Settings as SimulatorSettings
from tiktok_simulator.testing import RunningSimulator, running_simulator

PASSWORD = "correct horse battery"
TOKEN_PATH = "/v2/oauth/token/"

_numbers = count(1)


@dataclass
class Person:
    """A registered person with their tokens."""

    email: str
    user_id: UUID
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


@dataclass
class Events:
    """What a queue bound to every event of accounts has received."""

    received: list[Envelope]
    raw: list[bytes]

    async def of(self, key: str, number: int = 1) -> list[Envelope]:
        """Wait until exactly that many events of a key have come."""

        def there() -> list[Envelope]:
            found = [event for event in self.received if event.key == key]
            assert len(found) == number, f"{key}: {len(found)}"
            return found

        return await eventually(there)


class Service:
    """One replica and how the other services talk to it."""

    def __init__(self, app: Any, http: httpx.AsyncClient, keys: ServiceKeys, simulator: RunningSimulator) -> None:
        self.app = app
        self.http = http
        self.keys = keys
        self.simulator = simulator
        self.parts = app.state.parts
        self.database: Database = app.state.parts.database

    def as_service(self, name: str) -> dict[str, str]:
        return self.keys.authorization(name, "accounts")

    @property
    def gateway(self) -> dict[str, str]:
        return self.as_service("gateway")

    async def register(self, **changes: Any) -> Person:
        number = next(_numbers)
        body = {"email": f"person{number}@example.com", "username": f"person{number}", "password": PASSWORD} | changes
        answer = await self.http.post("/internal/auth/register", json=body, headers=self.gateway)
        assert answer.status_code == 201, answer.text
        tokens = answer.json()
        auth = {"Authorization": f"Bearer {tokens['access_token']}"}
        me = (await self.http.get("/internal/auth/me", headers=auth)).json()
        return Person(body["email"], UUID(me["id"]), tokens["access_token"], tokens["refresh_token"])

    async def login(self, email: str, password: str = PASSWORD, ip: str = "192.0.2.1") -> httpx.Response:
        headers = self.gateway | {"X-Forwarded-Client-IP": ip, "X-Forwarded-User-Agent": "test-agent"}
        return await self.http.post("/internal/auth/login", json={"email": email, "password": password}, headers=headers)

    async def consent(self, person: Person, creator: str = "demo_public", **query: str) -> dict[str, str]:
        """Start connecting, decide on TikTok's page, and return what the redirect carries."""
        answer = await self.http.get("/internal/tiktok/auth/url", headers=person.auth)
        assert answer.status_code == 200, answer.text
        return await self.decide(answer.json()["auth_url"], creator, **query)

    async def decide(self, auth_url: str, creator: str = "demo_public", **query: str) -> dict[str, str]:
        wanted = dict(parse_qsl(urlsplit(auth_url).query)) | {"simulator_creator": creator} | query
        if query.get("simulator_deny"):
            del wanted["simulator_creator"]
        page = f"{self.simulator.base_url}/v2/auth/authorize/"
        async with httpx.AsyncClient() as browser:
            redirect = await browser.get(page, params=wanted)
        assert redirect.status_code == 302, redirect.text
        return dict(parse_qsl(urlsplit(redirect.headers["location"]).query))

    async def callback(self, **params: str) -> httpx.Response:
        return await self.http.get("/internal/tiktok/callback", params=params, headers=self.gateway)

    async def connect(self, person: Person, creator: str = "demo_public", **query: str) -> UUID:
        answer = await self.callback(**await self.consent(person, creator, **query))
        assert answer.status_code == 200, answer.text
        return UUID(answer.json()["account_id"])

    async def access_token(self, account_id: UUID, **body: str) -> httpx.Response:
        path = f"/internal/accounts/{account_id}/access-token"
        return await self.http.post(path, json=body, headers=self.as_service("publisher"))

    async def make_refresh_due(self, account_id: UUID, *, seconds_left: float = 120) -> None:
        """Age the stored pair so that it has this much life left and is due for a refresh."""
        async with self.database.transaction() as tx:
            await tx.connection.exec_driver_sql(
                "UPDATE account_tokens SET refresh_due_at = now() - interval '1 second',"
                f" expires_at = now() + interval '{seconds_left} seconds' WHERE account_id = '{account_id}'"
            )

    def token_calls(self) -> int:
        """How often TikTok's token endpoint has answered."""
        return sum(self.simulator.state.stats.as_json()["requests"].get(TOKEN_PATH, {}).values())

    async def scalar(self, statement: str) -> Any:
        async with self.database.read() as connection:
            return (await connection.exec_driver_sql(statement)).scalar()

    async def execute(self, statement: str) -> None:
        async with self.database.transaction() as tx:
            await tx.connection.exec_driver_sql(statement)

    @asynccontextmanager
    async def busy_once(self, write: str, code: str) -> AsyncIterator[None]:
        """Have the database refuse the first such write (`INSERT ON account_tokens`) with this code, as for want of a lock."""
        async with self.database.transaction() as tx:
            await tx.driver.execute(BUSY_ONCE.format(write=write, code=code))
        try:
            yield
            assert await self.scalar("SELECT last_value FROM busy_once") > 1, "refused, and tried again"
        finally:
            async with self.database.transaction() as tx:
                await tx.driver.execute("DROP FUNCTION be_busy_once() CASCADE; DROP SEQUENCE busy_once")


BUSY_ONCE = """
CREATE SEQUENCE busy_once;
CREATE FUNCTION be_busy_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('busy_once') = 1 THEN RAISE 'busy' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$;
CREATE TRIGGER busy_once BEFORE {write} FOR EACH ROW EXECUTE FUNCTION be_busy_once();
"""
Start = Callable[..., Awaitable[Service]]


@pytest.fixture(scope="session")
async def simulator_server() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SimulatorSettings(port=0)) as running:
        yield running


@pytest.fixture
async def simulator(simulator_server: RunningSimulator) -> AsyncIterator[RunningSimulator]:
    yield simulator_server
    await simulator_server.state.reset()


@pytest.fixture(scope="session")
def encryption_key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
async def settings(
    clean_database: Callable[[str], Awaitable[str]],
    broker_url: str,
    service_keys: ServiceKeys,
    simulator: RunningSimulator,
    encryption_key: str,
) -> Settings:
    return Settings(
        database_url=await clean_database("accounts"),
        amqp_url=broker_url,
        service_private_key=service_keys.private_text("accounts"),
        service_public_keys=service_keys.public_texts(),
        encryption_key=encryption_key,
        argon2_time_cost=1,
        argon2_memory_kib=1024,
        tiktok_client_key=simulator.state.settings.client_key,
        tiktok_client_secret=simulator.state.settings.client_secret,
        tiktok_redirect_uri="http://127.0.0.1:8400/api/v1/tiktok/callback",
        tiktok_api_url=simulator.base_url,
        tiktok_authorize_url=f"{simulator.base_url}/v2/auth/authorize/",
        oauth_return_urls="https://app.example.com/connected,http://localhost:3000",
    )


@asynccontextmanager
async def running(app: Any, keys: ServiceKeys, simulator: RunningSimulator) -> AsyncIterator[Service]:
    """Run a replica: its whole lifecycle, requests without a socket."""
    async with LifespanManager(app, startup_timeout=20, shutdown_timeout=20):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://accounts", timeout=30) as http:
            yield Service(app, http, keys, simulator)


@pytest.fixture
def running_service() -> Callable[..., AbstractAsyncContextManager[Service]]:
    """Give `running`, for tests that end a replica themselves."""
    return running


@pytest.fixture
async def start(settings: Settings, service_keys: ServiceKeys, simulator: RunningSimulator) -> AsyncIterator[Start]:
    """Start replicas on the same database; keyword arguments change their settings."""
    async with AsyncExitStack() as stack:

        async def one(*, tiktok_transport: httpx.AsyncBaseTransport | None = None, **changes: Any) -> Service:
            chosen = Settings(**(dict(settings) | changes))
            app = wire(chosen, tiktok_transport=tiktok_transport)
            return await stack.enter_async_context(running(app, service_keys, simulator))

        yield one


@pytest.fixture
async def accounts(start: Start) -> Service:
    return await start()


LOCK = 58
GATE = f"""
CREATE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN OLD; END $$;
CREATE TRIGGER gate BEFORE DELETE ON outbox_messages FOR EACH ROW WHEN (OLD.routing_key LIKE '%.revoked.v1')
EXECUTE FUNCTION pass_the_gate();
"""
NO_GATE = "DROP TRIGGER gate ON outbox_messages; DROP FUNCTION pass_the_gate()"


@pytest.fixture
def closed_gate(settings: Settings) -> Callable[[], AbstractAsyncContextManager[Callable[[], Awaitable[None]]]]:
    """Return a block that stops every relay where it takes a revocation out of the outbox; it gives how to open the gate before."""

    @asynccontextmanager
    async def closed() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        holder = await asyncpg.connect(settings.database_url.get_secret_value())
        await holder.execute(f"SELECT pg_advisory_lock({LOCK})")
        await holder.execute(GATE)

        async def open_it() -> None:
            await holder.execute("SELECT pg_advisory_unlock_all()")

        try:
            yield open_it
        finally:
            await open_it()
            await holder.execute(NO_GATE)
            await holder.close()

    return closed


@pytest.fixture
async def events(broker_url: str) -> AsyncIterator[Events]:
    """Listen to every event of accounts."""
    found = Events([], [])

    async def take(message: Any) -> None:
        found.raw.append(message.body + json.dumps(dict(message.headers), default=str).encode())
        found.received.append(Envelope.model_validate_json(message.body))

    async with broker_channel(broker_url) as channel:
        exchange = await channel.declare_exchange("cuepost.events", ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "accounts.#")
        await queue.consume(take, no_ack=True)
        yield found


Send = Callable[..., Awaitable[Reply]]


@pytest.fixture
async def send(broker_url: str) -> AsyncIterator[Send]:
    """Send commands as the gateway does and return the replies; keyword arguments: `id`, `hash`."""
    client = CommandClient(SecretStr(broker_url), prefix="gateway.replies", instance=uuid7().hex, timeout=20)

    async def one(command: Command, person: Person, *, id: UUID | None = None, hash: str = "h") -> Reply:  # noqa: A002
        context = Context(user_id=person.user_id, actor=f"user:{person.user_id}", correlation_id="req-1")
        envelope_id = id or uuid7()
        envelope = wrap(
            command,
            service="gateway",
            subject=str(envelope_id),
            context=context,
            envelope_id=envelope_id,
            request_hash=hash,
        )
        return await client.call(envelope)

    await client.start()
    yield one
    await client.stop()
