"""Request heads have an end: in bytes, in seconds, and in what counts as HTTP."""

import asyncio
import errno
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from uvicorn.server import ServerState

import common.http.capped_protocol as capped
from common.http.app import create_app
from common.http.cutting import cut
from common.testing.eventually import eventually

Open = Callable[[], Any]


def echo_app() -> FastAPI:
    app = create_app(service="probe", title="Probe", version="1")

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(1.5)
        return "slow"

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * 20_000_000)

    @app.get("/flood")
    async def flood(request: Request, after: float) -> StreamingResponse:
        assert cut(request.scope, after=after)
        return StreamingResponse(repeat_forever(), headers={"Connection": "close"})

    return app


async def repeat_forever() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 100_000
        await asyncio.sleep(0)  # without a wait nobody would notice that the connection is gone


@pytest_asyncio.fixture(loop_scope="session")
async def connect() -> AsyncIterator[Open]:
    config = uvicorn.Config(echo_app(), log_config=None, access_log=False, ws="none", lifespan="off")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: capped.CappedHttpProtocol(config, state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(60):
                yield reader, writer
        finally:
            writer.close()

    yield opened
    server.close()


async def exchange(connect: Open, *sent: bytes) -> bytes:
    async with connect() as (reader, writer):
        for piece in sent:
            writer.write(piece)
            await writer.drain()
        answer: bytes = await reader.read()
        return answer


def assert_refused(answer: bytes, status: int, code: str) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem: dict[str, Any] = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert f"x-request-id: {problem['request_id']}".encode() in head
    return problem


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"a" * 66_000 + b"\r\n\r\n",
        GET + b"X: " + b"a" * 200_000,
        GET + b"a: b\r\n" * 12_000 + b"\r\n",
        b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        CHUNKED + b"1;" + b"a" * 200_000,
        CHUNKED + b"0\r\nX: " + b"a" * 200_000,
    ],
    ids=["in one piece", "endless", "many", "url", "chunk extension", "trailer"],
)
async def test_heads_beyond_the_cap_are_431(connect: Open, head: bytes) -> None:
    assert_refused(await exchange(connect, head), 431, "header_too_large")


async def test_a_head_within_the_cap_and_a_body_beyond_it_pass(connect: Open) -> None:
    answer = await exchange(connect, GET + b"Connection: close\r\nX: " + b"a" * 60_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    head = b"POST /size HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 500000\r\n\r\n"
    answer = await exchange(connect, head + b"b" * 500_000)
    assert answer.endswith(b"500000")


@pytest.mark.parametrize("sent", [b"", b"GET /heal", GET, b"\r\n"])
async def test_a_head_that_does_not_come_is_408(connect: Open, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(capped, "HEAD_TIMEOUT_SECONDS", 0.2)
    assert_refused(await exchange(connect, sent), 408, "request_timeout")


async def test_the_next_head_has_its_own_time_and_never_cuts_an_answer(connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capped, "HEAD_TIMEOUT_SECONDS", 1.0)
    answer = await exchange(connect, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /he")
    slow, _, refusal = answer.partition(b'"slow"')
    assert slow.startswith(b"HTTP/1.1 200 ")
    assert_refused(refusal, 408, "request_timeout")


async def test_a_connection_is_cut_though_the_client_takes_nothing(connect: Open) -> None:
    """Without it the server would wait with what is left for as long as the client is there."""
    async with connect() as (reader, writer):
        client = writer.get_extra_info("socket")
        reader._transport.pause_reading()
        writer.write(b"GET /flood?after=0.3 HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET)


@pytest.mark.parametrize("kept", ["keep-alive", "close"])
async def test_an_ordinary_answer_is_not_kept_for_a_client_that_takes_nothing(
    connect: Open, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setattr(capped, "TAKE_SECONDS", 0.2)
    async with connect() as (reader, writer):
        client = writer.get_extra_info("socket")
        reader._transport.pause_reading()
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: " + kept.encode() + b"\r\n\r\n")
        await eventually(lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET)


class Taking(asyncio.Transport):
    """A connection whose client leaves so much each time that somebody looks."""

    def __init__(self, *left: int) -> None:
        here, self.there = socket.socketpair()
        super().__init__({"socket": here})
        self.left, self.closing, self.aborted = list(left), False, asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted.set()


@contextmanager
def answering(*left: int) -> Iterator[tuple[capped.CappedHttpProtocol, Taking]]:
    config = uvicorn.Config(echo_app(), log_config=None, ws="none", lifespan="off")
    config.load()
    protocol, transport = capped.CappedHttpProtocol(config, ServerState(), {}), Taking(*left)
    protocol.connection_made(transport)
    with transport.there, transport.get_extra_info("socket"):
        yield protocol, transport
        protocol.connection_lost(None)


async def test_a_client_that_takes_little_at_a_time_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capped, "TAKE_SECONDS", 0.01)
    with answering(9, 8, 8, 7, 7, 7) as (protocol, transport):
        protocol.pause_writing()
        await asyncio.wait_for(transport.aborted.wait(), 60)
        assert transport.left == [], "it was cut when it had taken nothing more"


async def test_who_takes_it_all_is_watched_only_while_the_connection_ends() -> None:
    with answering(9, 8) as (protocol, _):
        protocol.pause_writing()
        protocol.resume_writing()
        assert protocol._take_timer is None
        protocol.timeout_keep_alive_handler()
        assert protocol._take_timer is not None
    protocol._close()
    assert protocol._take_timer is None


def test_a_server_that_cannot_cut_says_so() -> None:
    assert not cut({"type": "http"})


async def test_an_idle_kept_connection_is_not_a_late_head(connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capped, "HEAD_TIMEOUT_SECONDS", 1.0)
    async with connect() as (reader, writer):
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 1.5)
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")


async def test_what_is_no_http_is_a_problem_with_the_clients_request_id(connect: Open) -> None:
    assert_refused(await exchange(connect, b"\x16\x03\x01 nonsense\r\n\r\n"), 400, "bad_request")
    problem = assert_refused(
        await exchange(connect, GET + b"X-Request-ID: r1\r\nA: b\r\nbroken header\r\n\r\n"), 400, "bad_request"
    )
    assert problem["request_id"] == "r1"
    assert_refused(await exchange(connect, CHUNKED + b"zz\r\n"), 400, "bad_request")


async def test_nonsense_behind_a_request_is_not_its_answer(connect: Open) -> None:
    answer = await exchange(connect, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n\x00nonsense\r\n\r\n")
    assert answer == b""
