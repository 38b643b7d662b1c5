"""A running gateway on real RabbitMQ, with real HTTP servers in place of the services behind it."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import httpx
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from common.auth.keys import b64url_encode
from common.contracts.envelope import Envelope
from common.contracts.message import Event
from common.http.capped_protocol import CappedHttpProtocol
from common.http.json_response import json_response
from common.messaging.reply import Reply
from common.messaging.topology import COMMANDS, EVENTS
from common.testing.eventually import eventually
from common.testing.http_server import serving
from common.testing.keys import ServiceKeys, UserKeys
from common.testing.tcp_gate import TcpGate, tcp_gate
from gateway.app import build_app
from gateway.settings import Settings

Script = Callable[[Envelope], Reply | None]


class Services:
    """Accounts, scheduler and analytics in one real HTTP server: records calls and answers as told."""

    def __init__(self, user_keys: UserKeys) -> None:
        self.calls: list[dict[str, Any]] = []
        self.answers: dict[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {}
        self.revocations: list[dict[str, Any]] = []
        self.revocations_fail = False
        self.revocations_page: Callable[[Request], Awaitable[Any]] | None = None
        self.user_keys = user_keys
        self.app = FastAPI(openapi_url=None)
        self.app.add_api_route("/{path:path}", self._handle, methods=["GET", "POST", "DELETE", "PUT", "PATCH"])

    def answer(self, method: str, path: str, body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Answer calls of `method` and `path` with JSON."""

        async def respond(_: Request) -> Response:
            kind = "application/problem+json" if status >= 400 else "application/json"
            return json_response(body, status=status, headers=headers, media_type=kind)

        self.answers[method, path] = respond

    def reset(self) -> None:
        """Forget calls and answers."""
        self.calls.clear()
        self.answers.clear()
        self.revocations.clear()
        self.revocations_fail = False
        self.revocations_page = None

    def calls_of(self, path: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["path"] == path]

    async def _handle(self, request: Request) -> Response:
        path = request.url.path
        if path == "/.well-known/jwks.json":
            return json_response(self.user_keys.jwks())
        if path == "/internal/revocations":
            return await self._revocations(request)
        self.calls.append(
            {
                "method": request.method,
                "path": path,
                "query": request.url.query,
                "headers": dict(request.headers),
                "body": await request.body(),
            }
        )
        answer = self.answers.get((request.method, path))
        if answer is None:
            return json_response({"code": "not_found", "status": 404, "detail": "", "title": ""}, status=404)
        return await answer(request)

    async def _revocations(self, request: Request) -> Response:
        self.calls.append({"path": "/internal/revocations", "query": request.url.query})
        if self.revocations_fail:
            return json_response({}, status=500)
        if self.revocations_page is not None:
            return json_response(await self.revocations_page(request))
        return json_response({"items": self.revocations, "next_since": "2026-01-01T00:00:00Z", "has_more": False})


class Responder:
    """A scripted service on a real command queue."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.received: list[Envelope] = []
        self.script: Script = lambda _: Reply(status=200, body={})

    async def bind(self, *keys: str) -> None:
        """Take commands of these keys from now on."""
        exchange = await self._channel.declare_exchange(COMMANDS.name, type="topic", durable=True)
        queue = await self._channel.declare_queue(f"test.commands.{uuid4().hex}", exclusive=True)
        for key in keys:
            await queue.bind(exchange, routing_key=key)
        await queue.consume(self._handle, no_ack=True)

    async def first(self) -> Envelope:
        """Wait for a command: whoever got no reply in time may be told so before it is here."""
        return (await eventually(lambda: self.received))[0]

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        envelope = Envelope.model_validate_json(message.body)
        self.received.append(envelope)
        reply = self.script(envelope)
        if reply is None or not message.reply_to:
            return
        answer = aio_pika.Message(reply.model_dump_json().encode(), correlation_id=message.correlation_id)
        await self._channel.default_exchange.publish(answer, routing_key=message.reply_to)


@pytest.fixture(scope="session")
def session_services(user_keys: UserKeys) -> Services:
    return Services(user_keys)


@pytest.fixture
def services(session_services: Services) -> Services:
    session_services.reset()
    return session_services


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def services_url(session_services: Services) -> AsyncIterator[str]:
    async with serving(session_services.app) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def broker_channel(rabbitmq_url: str) -> AsyncIterator[Any]:
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection:
        yield await connection.channel()


@pytest_asyncio.fixture(loop_scope="session")
async def gate(rabbitmq_url: str) -> AsyncIterator[tuple[TcpGate, str]]:
    """Stand between a gateway and the broker: the gate, and the broker's address through it."""
    async with tcp_gate(rabbitmq_url) as opened:
        yield opened


@pytest.fixture
def responder(broker_channel: Any) -> Responder:
    return Responder(broker_channel)


@pytest.fixture(scope="session")
def session_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway") / "storage"


@pytest.fixture
def storage_folder(session_storage: Path) -> Path:
    """Return the storage's folder, empty."""
    for path in session_storage.glob("*"):
        shutil.rmtree(path)
    return session_storage


@pytest.fixture(scope="session")
def make_settings(
    rabbitmq_url: str, services_url: str, service_keys: ServiceKeys, session_storage: Path
) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "amqp_url": SecretStr(rabbitmq_url),
            "accounts_url": services_url,
            "scheduler_url": services_url,
            "analytics_url": services_url,
            "service_private_key": SecretStr(service_keys.private_text("gateway")),
            "service_public_keys": service_keys.public_texts(),
            "storage_url": f"file://{session_storage}",
            "operation_key": SecretStr(b64url_encode(bytes(range(32)))),
            "command_timeout_seconds": 2.0,
            "rate_limit_per_user": "10000/minute",
            "rate_limit_per_address": "10000/minute",
            "service_instance": f"test-{uuid4().hex[:8]}",
        }
        return Settings(**(values | changes))

    return make


@pytest.fixture(scope="session")
def distrusted_addresses() -> Iterator[None]:
    """Keep the test server from believing forwarded addresses by itself; the production server does not either."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")
        yield


@pytest.fixture(scope="session")
def run_gateway(
    make_settings: Callable[..., Settings], distrusted_addresses: None
) -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Return a context manager that runs a gateway and gives a client for it."""

    @asynccontextmanager
    async def run(*, ready: bool = True, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = build_app(make_settings(**changes))
        async with (
            serving(app, http=CappedHttpProtocol) as url,
            httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
        ):
            client.app = app  # type: ignore[attr-defined]
            if ready:

                async def is_ready() -> bool:
                    answer = await client.get("/readyz")
                    assert answer.status_code == 200, answer.text
                    return True

                await eventually(is_ready)
            yield client

    return run


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_gateway(run_gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with run_gateway() as client:
        yield client


@pytest.fixture
def gateway(session_gateway: httpx.AsyncClient, services: Services, storage_folder: Path) -> httpx.AsyncClient:
    """Return a client of a running gateway whose limits get in nobody's way; one gateway serves all tests."""
    del services, storage_folder
    return session_gateway


@pytest.fixture
def user_id() -> Any:
    return uuid4()


@pytest.fixture
def auth(user_keys: UserKeys, user_id: Any) -> dict[str, str]:
    """Headers of a logged-in user."""
    return user_keys.authorization(user_id, session_id=str(uuid4()))


@pytest.fixture
def emit(broker_channel: Any) -> Callable[[Event], Awaitable[None]]:
    """Return a function that publishes an event as accounts would."""
    from common.contracts.context import Context
    from common.contracts.envelope import wrap

    async def publish(event: Event) -> None:
        exchange = await broker_channel.declare_exchange(EVENTS.name, type="topic", durable=True)
        envelope = wrap(event, service="accounts", subject=str(uuid4()), context=Context())
        await exchange.publish(aio_pika.Message(envelope.to_bytes()), routing_key=event.KEY)

    return publish
