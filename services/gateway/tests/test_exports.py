"""Exports pass through the gateway while they are made: nothing of them is kept, and a broken one looks broken."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from common.testing.eventually import eventually
from gateway.api import streaming
from gateway.app import EXPORTS, EXPORTS_PER_USER

pytestmark = pytest.mark.integration

PATH, INTERNAL = "/api/v1/audit/export", "/internal/audit/export"
HEADERS = {"content-type": "application/jsonl", "content-disposition": 'attachment; filename="a.jsonl"', "x-secret": "no"}


class Export:
    """What analytics sends: pieces that the test hands out one by one, until it ends or breaks."""

    def __init__(self, services: Any) -> None:
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.open = 0
        services.answers["GET", INTERNAL] = self._respond

    async def _respond(self, _: Request) -> Response:
        return StreamingResponse(self._body(), headers=HEADERS)

    async def _body(self) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            while (piece := await self.pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.open -= 1

    async def closed(self) -> bool:
        assert self.open == 0
        return True


@pytest.fixture
def export(gateway: Any, services: Any) -> Export:
    return Export(services)


async def test_each_piece_arrives_when_it_is_made(gateway: Any, services: Any, auth: Any, export: Export) -> None:
    export.pieces.put_nowait(b"one\n")
    async with gateway.stream("GET", f"{PATH}?format=jsonl&action=a%20b", headers=auth) as answer:
        assert answer.status_code == 200
        kept = {name: answer.headers[name] for name in ("content-type", "content-disposition")}
        assert kept == {name: HEADERS[name] for name in kept}
        assert "x-secret" not in answer.headers
        assert "ratelimit-remaining" in answer.headers
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"one\n"
        export.pieces.put_nowait(b"two\n")
        assert await anext(pieces) == b"two\n"
        export.pieces.put_nowait(None)
        assert [piece async for piece in pieces] == []
    (call,) = services.calls_of(INTERNAL)
    assert call["query"] == "format=jsonl&action=a%20b"
    assert call["headers"]["authorization"] == auth["Authorization"]
    assert call["headers"]["x-forwarded-client-ip"] == "127.0.0.1"


async def test_the_file_of_posts_comes_the_same_way(gateway: Any, services: Any, auth: Any) -> None:
    async def respond(_: Request) -> Response:
        return Response(b"id\r\n", headers={**HEADERS, "content-type": "text/csv"})

    services.answers["GET", "/internal/analytics/export"] = respond
    answer = await gateway.get("/api/v1/analytics/export?format=csv&from=2026-11-21T07:00:00Z", headers=auth)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"id\r\n", "text/csv")
    assert answer.headers["content-disposition"] == HEADERS["content-disposition"]
    (call,) = services.calls_of("/internal/analytics/export")
    assert call["query"] == "format=csv&from=2026-11-21T07:00:00Z"


async def test_one_that_breaks_on_the_way_is_not_taken_for_whole(gateway: Any, auth: Any, export: Export) -> None:
    export.pieces.put_nowait(b"one\n")
    export.pieces.put_nowait(ConnectionResetError("analytics died"))
    with pytest.raises(httpx.TransportError):
        await gateway.get(PATH, headers=auth)
    await eventually(export.closed)


async def test_a_refusal_comes_back_as_it_is(gateway: Any, services: Any, auth: Any) -> None:
    services.answer("GET", INTERNAL, {"code": "invalid_request"}, status=422)
    answer = await gateway.get(f"{PATH}?format=xml", headers=auth)
    assert (answer.status_code, answer.json()) == (422, {"code": "invalid_request"})
    assert answer.headers["content-type"] == "application/problem+json"


async def test_analytics_away_is_503_and_takes_no_place(run_gateway: Any, auth: Any) -> None:
    async with run_gateway(analytics_url="http://127.0.0.1:1") as gateway:
        for _ in range(EXPORTS_PER_USER + 1):
            answer = await gateway.get(PATH, headers=auth)
            assert (answer.status_code, answer.headers["retry-after"] > "0") == (503, True)


async def test_head_shows_the_head_and_reads_nothing(gateway: Any, auth: Any, export: Export) -> None:
    export.pieces.put_nowait(b"one\n")
    answer = await gateway.head(PATH, headers=auth)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == HEADERS["content-type"]
    await eventually(export.closed)


async def test_a_client_that_leaves_ends_the_export(gateway: Any, auth: Any, export: Export) -> None:
    export.pieces.put_nowait(b"one\n")
    async with gateway.stream("GET", PATH, headers=auth) as answer:
        assert answer.status_code == 200
    await eventually(export.closed)


async def test_a_user_has_two_places_and_gets_them_back(gateway: Any, auth: Any, user_keys: Any, export: Export) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(EXPORTS_PER_USER):
            export.pieces.put_nowait(b"x")
            answer = await stack.enter_async_context(gateway.stream("GET", PATH, headers=auth))
            assert answer.status_code == 200
        refused = await gateway.get(PATH, headers=auth)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_at_once")
        assert refused.headers["retry-after"] == "10"
        export.pieces.put_nowait(b"y")
        other = user_keys.authorization(uuid4(), session_id=str(uuid4()))
        async with gateway.stream("GET", PATH, headers=other) as answer:
            assert answer.status_code == 200

    async def has_place() -> bool:
        export.pieces.put_nowait(b"x")
        async with gateway.stream("GET", PATH, headers=auth) as answer:
            assert answer.status_code == 200
        return True

    await eventually(has_place)
    await eventually(export.closed)


async def test_all_users_together_have_so_many_places(gateway: Any, user_keys: Any, export: Export) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(EXPORTS):
            export.pieces.put_nowait(b"x")
            headers = user_keys.authorization(uuid4(), session_id=str(uuid4()))
            answer = await stack.enter_async_context(gateway.stream("GET", PATH, headers=headers))
            assert answer.status_code == 200
        headers = user_keys.authorization(uuid4(), session_id=str(uuid4()))
        refused = await gateway.get(PATH, headers=headers)
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "all_places_taken", "10")
    await eventually(export.closed)


async def test_a_slow_client_costs_no_memory_and_one_that_stalls_is_cut_off(
    gateway: Any, auth: Any, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Analytics sends 200 MB as fast as the gateway takes it; the client takes a little, then nothing."""
    monkeypatch.setattr(streaming, "STALL_SECONDS", 0.5)
    sent, ended = 0, asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        try:
            for _ in range(200):
                yield b"x" * 1_000_000
                sent += 1_000_000
                # Without a wait nobody would notice that the connection is gone.
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def respond(_: Request) -> Response:
        return StreamingResponse(body(), headers=HEADERS)

    services.answers["GET", INTERNAL] = respond
    before = psutil.Process(os.getpid()).memory_info().rss
    url = gateway.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth['Authorization']}\r\n\r\n".encode())
    await reader.readexactly(1_000)
    await asyncio.wait_for(ended.wait(), 60)
    assert sent < 30_000_000, "what the sockets on the way hold, not the whole"
    assert psutil.Process(os.getpid()).memory_info().rss - before < 60_000_000
    writer.close()
