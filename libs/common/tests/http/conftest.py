"""A small app as `create_app` makes it, and a client of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from common.http.app import create_app
from common.http.request_id import request_id_of

AppOf = Callable[..., FastAPI]
ClientOf = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]
AssertProblem = Callable[[httpx.Response, int, str], dict[str, Any]]


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


@router.get("/broken-stream")
async def broken_stream() -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begin"
        raise RuntimeError("in the middle")

    return StreamingResponse(parts())


def small_app(*parts: Any, routers: tuple[APIRouter, ...] = (), **more: Any) -> FastAPI:
    arguments: dict[str, Any] = {"service": "test", "title": "Test", "version": "1", "routers": [router, *routers]}
    return create_app(**arguments, components=parts, **more)


@asynccontextmanager
async def running_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with running_client(small_app(upload_prefixes=["/raw/"])) as client:
        yield client


def checked_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    assert "canary" not in response.text
    return body


@pytest.fixture
def app_of() -> AppOf:
    """Return a function from components (and `routers`, `checks`, ...) to an app with them."""
    return small_app


@pytest.fixture
def client_of() -> ClientOf:
    """Return a context manager that runs an app and gives a client of it."""
    return running_client


@pytest.fixture
def assert_problem() -> AssertProblem:
    """Return a function that checks a problem's form, status and code, and returns its body."""
    return checked_problem
