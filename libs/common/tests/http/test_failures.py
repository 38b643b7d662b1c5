"""What goes wrong becomes problem+json: failures of handlers, and addresses that lead nowhere."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from asyncpg.exceptions import CannotConnectNowError, LockNotAvailableError, TooManyConnectionsError
from fastapi import APIRouter, HTTPException
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from structlog.testing import capture_logs

from common.errors import FieldError, Problem, Transient

router = APIRouter()


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


@pytest.fixture
async def client(app_of: Any, client_of: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an app that fails in each of those ways."""
    async with client_of(app_of(routers=(router,))) as client:
        yield client


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
async def test_failures_become_problems(
    client: httpx.AsyncClient, how: str, status: int, code: str, assert_problem: Any
) -> None:
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


async def test_unknown_addresses_and_methods(client: httpx.AsyncClient, assert_problem: Any) -> None:
    assert_problem(await client.get("/nothing"), 404, "not_found")
    assert_problem(await client.get("/items/"), 404, "not_found")
    response = await client.delete("/items")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert_problem(await client.get("/openapi.json"), 404, "not_found")


@pytest.mark.parametrize("item_id", ["x", "1", "%00", "..", "0190b8e5-0000-7000-8000-00000000000g", "é", "\ud7ff", "a" * 500])
async def test_a_malformed_id_in_the_path_is_not_found(client: httpx.AsyncClient, item_id: str, assert_problem: Any) -> None:
    assert_problem(await client.get(f"/items/{item_id}"), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=51", "limit"), ("limit=canary", "limit"), ("limit=%00", "query")]
)
async def test_bad_query_parameters(client: httpx.AsyncClient, query: str, field: str, assert_problem: Any) -> None:
    response = await client.get(f"/items/0190b8e5-0000-7000-8000-000000000001?{query}")
    body = assert_problem(response, 422, "invalid_request")
    assert body["errors"][0]["field"] == field
    assert set(body["errors"][0]) == {"field", "code", "message"}
