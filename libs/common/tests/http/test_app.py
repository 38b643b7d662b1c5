import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from asgi_lifespan import LifespanManager
from asyncpg.exceptions import CannotConnectNowError, LockNotAvailableError, TooManyConnectionsError
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from structlog.testing import capture_logs

from common.errors import FieldError, Problem, Transient
from common.http.app import create_app
from common.http.health import Check
from common.http.request_id import request_id_of
from common.telemetry.metrics import HTTP_SECONDS

PROBLEM = "application/problem+json"


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=20)
    count: int = 0
    tags: dict[str, Any] = {}


router = APIRouter()


@router.post("/items")
async def create(item: Item) -> Item:
    return item


@router.get("/items/{item_id}")
async def read(item_id: UUID, limit: Annotated[int, Query(ge=1, le=50)] = 20) -> dict[str, Any]:
    return {"id": item_id, "limit": limit}


@router.get("/request-id")
async def show_request_id(request: Request) -> dict[str, str]:
    return {"request_id": request_id_of(request)}


@router.post("/raw/upload")
async def upload(request: Request) -> dict[str, int]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return {"size": size}


def database_error(cause: Exception) -> DBAPIError:
    """Return what SQLAlchemy makes of asyncpg's errors that have no class of their own there."""
    wrapped = Exception("x")
    wrapped.__cause__ = cause
    return DBAPIError("SELECT canary", {}, wrapped)


FAILURES: dict[str, Exception] = {
    "problem": Problem(409, "media_in_use", "In use.", hint="Wait.", errors=[FieldError("media_id", "in_use", "used")]),
    "transient": Transient("accounts is away", retry_after=7),
    "bug": RuntimeError("canary-secret"),
    "refused": ConnectionRefusedError("db"),
    "timeout": TimeoutError(),
    "database-away": OperationalError("SELECT canary", {}, Exception("x")),
    "database-cut": DBAPIError("SELECT canary", {}, Exception("x"), connection_invalidated=True),
    "database-full": database_error(TooManyConnectionsError("x")),
    "database-recovers": database_error(CannotConnectNowError("x")),
    "database-busy": database_error(LockNotAvailableError("x")),
    "database-bug": IntegrityError("SELECT canary", {}, Exception("x")),
    "not-modified": HTTPException(304),
    "teapot": HTTPException(418, "canary"),
    "unauthorized": HTTPException(401, headers={"WWW-Authenticate": "Bearer"}),
}


@router.get("/fail/{how}")
async def fail(how: str) -> None:
    raise FAILURES[how]


@router.get("/broken-stream")
async def broken_stream() -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begin"
        raise RuntimeError("in the middle")

    return StreamingResponse(parts())


class Part:
    def __init__(self, name: str, log: list[str], *, fails: str = "", hangs: bool = False) -> None:
        self.name = name
        self.reason: str | None = None
        self._log = log
        self._fails = fails
        self._hangs = hangs

    async def start(self) -> None:
        if self._fails == "start":
            raise RuntimeError("cannot start")
        self._log.append(f"start {self.name}")

    async def stop(self) -> None:
        self._log.append(f"stop {self.name}")
        if self._fails == "stop":
            raise RuntimeError("cannot stop")
        if self._hangs:
            await asyncio.Event().wait()

    def healthy(self) -> str | None:
        if self.reason == "raise":
            raise RuntimeError
        return self.reason


def app_of(*parts: Part, checks: tuple[Check, ...] = (), **more: Any) -> FastAPI:
    arguments: dict[str, Any] = {"service": "test", "title": "Test", "version": "1", "routers": [router]}
    return create_app(**arguments, components=parts, checks=checks, **more)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app_of(upload_prefixes=["/raw/"])) as client:
        yield client


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    assert "canary" not in response.text
    return body


async def test_components_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    async with client_of(app_of(Part("a", log), Part("b", log), Part("c", log))) as client:
        assert (await client.get("/readyz")).status_code == 200
    assert log == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


async def test_a_failed_start_stops_what_runs() -> None:
    log: list[str] = []
    app = app_of(Part("a", log), Part("b", log, fails="start"), Part("c", log))
    with pytest.raises(RuntimeError, match="cannot start"):
        async with LifespanManager(app):
            pass
    assert log == ["start a", "stop a"]


async def test_a_failing_or_hanging_stop_does_not_keep_the_others() -> None:
    log: list[str] = []
    app = app_of(Part("a", log), Part("b", log, fails="stop"), Part("c", log, hangs=True))
    app.state.component_stop_seconds = 0.05
    with capture_logs() as logs:
        async with client_of(app):
            pass
    assert log[3:] == ["stop c", "stop b", "stop a"]
    events = [(entry["event"], entry.get("component")) for entry in logs]
    assert ("component_stop_timed_out", "c") in events
    assert ("component_stop_failed", "b") in events


async def test_readiness_names_each_part_and_its_reason() -> None:
    async def fine() -> None:
        return None

    async def broken() -> None:
        raise OSError("canary address")

    async def hangs() -> None:
        await asyncio.Event().wait()

    first, second = Part("relay", []), Part("relay", [])
    checks = (Check("database", fine), Check("store", broken), Check("slow", hangs, timeout_seconds=0.05))
    first.reason, second.reason = "no connection", "raise"
    async with client_of(app_of(first, second, checks=checks)) as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {
            "status": "not_ready",
            "service": "test",
            "checks": {
                "relay": {"ok": False, "reason": "no connection"},
                "relay-1": {"ok": False, "reason": "health check failed: RuntimeError"},
                "database": {"ok": True, "reason": None},
                "store": {"ok": False, "reason": "OSError"},
                "slow": {"ok": False, "reason": "no answer within 0.05 s"},
            },
        }
        assert (await client.get("/healthz")).json() == {"status": "ok", "service": "test"}


async def test_readiness_is_red_before_the_start_and_while_stopping() -> None:
    app = app_of()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/readyz")).json()["status"] == "starting"
    async with client_of(app) as client:
        assert (await client.get("/readyz")).json()["status"] == "ready"
        app.state.stopping.set()
        response = await client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (503, "stopping")


@pytest.mark.parametrize("given", ["abc", "A-b_c.9", "x" * 128])
async def test_the_clients_request_id_is_used(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/request-id", headers={"X-Request-ID": given})
    assert response.headers.get_list("x-request-id") == [given]
    assert response.json() == {"request_id": given}


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é", "a\tb", "a;b", None])
async def test_a_bad_or_missing_request_id_is_replaced(client: httpx.AsyncClient, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given.encode("utf-8")}
    response = await client.get("/request-id", headers=headers)  # type: ignore[arg-type]
    assert UUID(response.headers["x-request-id"]).version == 7


async def test_each_request_is_logged_once_with_its_id(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await client.get("/request-id?token=canary", headers={"X-Request-ID": "r1"})
    (entry,) = logs
    assert (entry["event"], entry["method"], entry["path"], entry["status"]) == ("request", "GET", "/request-id", 200)
    assert entry["ms"] >= 0


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("problem", 409, "media_in_use"),
        ("transient", 503, "service_unavailable"),
        ("bug", 500, "internal_error"),
        ("refused", 503, "service_unavailable"),
        ("timeout", 503, "service_unavailable"),
        ("database-away", 503, "service_unavailable"),
        ("database-cut", 503, "service_unavailable"),
        ("database-full", 503, "service_unavailable"),
        ("database-recovers", 503, "service_unavailable"),
        ("database-busy", 503, "service_unavailable"),
        ("database-bug", 500, "internal_error"),
        ("teapot", 418, "error"),
        ("unauthorized", 401, "unauthorized"),
    ],
)
async def test_failures_become_problems(client: httpx.AsyncClient, how: str, status: int, code: str) -> None:
    with capture_logs() as logs:
        response = await client.get(f"/fail/{how}")
    body = assert_problem(response, status, code)
    crashed = [entry for entry in logs if entry["event"] == "request_crashed"]
    assert len(crashed) == (1 if status == 500 else 0)
    if how == "problem":
        assert body["hint"] == "Wait."
        assert body["errors"] == [{"field": "media_id", "code": "in_use", "message": "used"}]
    if status == 503:
        assert response.headers["retry-after"] == ("7" if how == "transient" else "1")
    if how == "unauthorized":
        assert response.headers["www-authenticate"] == "Bearer"


async def test_not_modified_has_no_body(client: httpx.AsyncClient) -> None:
    response = await client.get("/fail/not-modified")
    assert (response.status_code, response.content) == (304, b"")


async def test_unknown_addresses_and_methods(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/nothing"), 404, "not_found")
    assert_problem(await client.get("/items/"), 404, "not_found")
    response = await client.delete("/items")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert_problem(await client.get("/openapi.json"), 404, "not_found")


@pytest.mark.parametrize("item_id", ["x", "1", "%00", "..", "0190b8e5-0000-7000-8000-00000000000g", "é", "\ud7ff", "a" * 500])
async def test_a_malformed_id_in_the_path_is_not_found(client: httpx.AsyncClient, item_id: str) -> None:
    assert_problem(await client.get(f"/items/{item_id}"), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=51", "limit"), ("limit=canary", "limit"), ("limit=%00", "query")]
)
async def test_bad_query_parameters(client: httpx.AsyncClient, query: str, field: str) -> None:
    response = await client.get(f"/items/0190b8e5-0000-7000-8000-000000000001?{query}")
    body = assert_problem(response, 422, "invalid_request")
    assert body["errors"][0]["field"] == field
    assert set(body["errors"][0]) == {"field", "code", "message"}


NESTED_TAGS = b'{"name": "x", "tags": ' + b'{"a":' * 63 + b"1" + b"}" * 63 + b"}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"canary", 422, "invalid_request"),
        (b'{"name": "x"', 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'{"name": 5}', 422, "invalid_request"),
        (b'{"name": "x", "extra": "canary"}', 422, "invalid_request"),
        (b'{"name": "canary canary canary canary"}', 422, "invalid_request"),
        (b'{"name": "a\\u0000b"}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a\\u0000": 1}}', 422, "invalid_request"),
        (b'{"name": "a\x00b"}', 422, "invalid_request"),
        ('{"name": "x"}'.encode("utf-16"), 422, "invalid_request"),
        (b'{"name": "\\ud800"}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": ["\\udfff"]}}', 422, "invalid_request"),
        (b'{"name": "\xed\xa0\x80"}', 422, "invalid_request"),
        (b'{"name": "\xff"}', 422, "invalid_request"),
        (b'{"name": "x", "count": 123456789012345678901234567890}', 422, "invalid_request"),
        (b'{"name": "x", "count": ' + b"9" * 5000 + b"}", 422, "invalid_request"),
        (b'{"name": "x", "count": 1e400}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": 1e400}}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": NaN}}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": -Infinity}}', 422, "invalid_request"),
        (b'{"name": "x", "tags": ' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}", 422, "invalid_request"),
        (b"[" * 200_000, 422, "invalid_request"),
        (b"[" * 100_000 + b"]" * 100_000, 422, "invalid_request"),
        (b'{"name": "' + b"x" * (1024 * 1024) + b'"}', 413, "body_too_large"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else str(value),
)
async def test_bad_bodies(client: httpx.AsyncClient, body: bytes, status: int, code: str) -> None:
    response = await client.post("/items", content=body, headers={"Content-Type": "application/json"})
    problem = assert_problem(response, status, code)
    if code == "invalid_request":
        assert problem["errors"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "\\ud83d\\ude00"}',
        '{"name": "😀 é"}'.encode(),
        b'{"name": "a\\\\u0000b"}',
        b'{"name": "NaN Infinity"}',
        b'{"name": "1234567890123456789"}',
        b'{"name": "x", "count": 9223372036854775807}',
        b'{"name": "x", "tags": {"a": 1e200, "b": 12345678901234567890.5}}',
        NESTED_TAGS,
    ],
)
async def test_unusual_but_good_bodies(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/items", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", None, "rubbish"])
async def test_a_body_that_is_not_json(client: httpx.AsyncClient, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await client.post("/items", content=b'{"name": "x"}', headers=headers)
    assert assert_problem(response, 415, "unsupported_media_type")["hint"]


async def test_a_streamed_body_is_capped_too(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    response = await client.post("/items", content=endless(), headers={"Content-Type": "application/json"})
    assert_problem(response, 413, "body_too_large")
    assert sent <= 1024 * 1024 + 2 * 65536


async def test_upload_paths_keep_their_own_limits(client: httpx.AsyncClient) -> None:
    response = await client.post("/raw/upload", content=b"\x00" * (3 * 1024 * 1024))
    assert response.json() == {"size": 3 * 1024 * 1024}


async def test_a_slow_body_is_given_up(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.http.body_guard.BODY_TIMEOUT_SECONDS", 0.05)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert_problem(await client.post("/items", content=stalled()), 408, "body_timeout")


async def test_a_client_that_leaves_is_not_answered() -> None:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/items",
        "raw_path": b"/items",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")],
    }
    await app_of()(scope, receive, send)
    assert sent == []


async def test_an_answer_that_breaks_is_cut_not_completed() -> None:
    async with LifespanManager(app_of()) as manager:
        transport = httpx.ASGITransport(manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with pytest.raises(RuntimeError, match="in the middle"):
                await client.get("/broken-stream")


async def test_requests_are_measured_by_route(client: httpx.AsyncClient) -> None:
    await client.get("/items/0190b8e5-0000-7000-8000-000000000001")
    await client.request("CANARY", "/items")
    labels = {tuple(sample.labels.values())[:3] for metric in HTTP_SECONDS.collect() for sample in metric.samples}
    assert ("GET", "/items/{item_id}", "200") in labels
    assert ("other", "/items", "405") in labels
    assert not any("CANARY" in label for label in labels)


async def test_docs_where_wanted() -> None:
    async with client_of(app_of(docs=True)) as client:
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "Test"
        assert (await client.get("/docs")).status_code == 200


async def test_two_content_types_are_refused(client: httpx.AsyncClient) -> None:
    """Who guards the body would believe one, and who reads it the other."""
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    response = await client.post("/items", content=b'{"name": 99999999999999999999}', headers=headers)
    assert_problem(response, 400, "repeated_header")
