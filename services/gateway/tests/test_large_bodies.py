"""Large batches: read for those only who may send them, a few at a time, and nobody keeps the others out.

Clients here wait for `100 Continue`: it comes when the first byte of a body is wanted, so it shows what is read and what is not.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from common.contracts.scheduler import CreatePosts
from common.http.body_guard import Pace
from common.messaging.reply import Reply
from common.testing.eventually import eventually
from gateway.api import large_body
from gateway.app import LARGE_BODIES, LARGE_BODIES_PER_USER

pytestmark = pytest.mark.integration

BULK = "/api/v1/posts/bulk"
LONG = b'{"posts": [{"caption": "x"}]' + b" " * 600_000 + b"}"
SIZED, CHUNKED = f"Content-Length: {len(LONG)}", "Transfer-Encoding: chunked"
WAIT = 60.0


class Sender:
    """One connection whose client sends the head, and a body only when it is asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def said(self) -> int:
        """Return the next status: 100, or the answer's."""
        line = await asyncio.wait_for(self._reader.readline(), WAIT)
        while not line.startswith(b"HTTP/1.1 "):
            line = await asyncio.wait_for(self._reader.readline(), WAIT)
        return int(line.split()[1])

    async def send(self, body: bytes = LONG) -> None:
        self._writer.write(body)
        await self._writer.drain()

    async def leave(self) -> None:
        self._writer.transport.abort()


Connect = Callable[..., Awaitable[Sender]]


@pytest.fixture
async def connect(gateway: Any) -> AsyncIterator[Connect]:
    writers = []

    async def connected(authorization: str | None, size: str = SIZED, *, expect: bool = True) -> Sender:
        reader, writer = await asyncio.open_connection(gateway.base_url.host, gateway.base_url.port)
        writers.append(writer)
        allowed = f"Authorization: {authorization}\r\n" if authorization else ""
        waits = "Expect: 100-continue\r\n" if expect else ""
        head = f"POST {BULK} HTTP/1.1\r\nHost: x\r\n{allowed}{waits}Content-Type: application/json\r\n{size}"
        writer.write(f"{head}\r\n\r\n".encode())
        return Sender(reader, writer)

    yield connected
    for writer in writers:
        writer.transport.abort()
    await eventually(lambda: gateway.app.state.edge.large_bodies.taken == 0, 60)


@pytest.fixture
async def batches(responder: Any) -> Any:
    responder.script = lambda _: Reply(status=200, body={"items": []})
    await responder.bind(CreatePosts.KEY)
    return responder


@pytest.fixture
def someone(user_keys: Any) -> Callable[[], str]:
    """Return a function that gives the Authorization of a new user."""
    return lambda: str(user_keys.authorization(uuid4(), session_id=str(uuid4()))["Authorization"])


@pytest.mark.parametrize("size", [SIZED, CHUNKED])
@pytest.mark.parametrize("token", [None, "Bearer x.y.z"])
async def test_without_a_good_token_nothing_is_read_and_nobody_kept_out(
    gateway: Any, connect: Connect, batches: Any, auth: Any, token: str | None, size: str
) -> None:
    strangers = [await connect(token, size) for _ in range(LARGE_BODIES + 1)]
    assert [await stranger.said() for stranger in strangers] == [401] * len(strangers)
    answer = await gateway.post(BULK, content=LONG, headers={**auth, "Content-Type": "application/json"})
    assert (answer.status_code, len(batches.received)) == (200, 1)


async def test_strangers_that_are_still_on_the_line_hold_no_place(
    gateway: Any, connect: Connect, batches: Any, auth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those who do not wait for `100 Continue` what they still send is read and forgotten, for a while, before they are told."""
    monkeypatch.setattr("gateway.api.drain.DRAIN_SECONDS", WAIT)
    for _ in range(LARGE_BODIES + 1):
        await connect(None, CHUNKED, expect=False)
    answer = await gateway.post(BULK, content=LONG, headers={**auth, "Content-Type": "application/json"})
    assert (answer.status_code, gateway.app.state.edge.large_bodies.taken) == (200, 0)


async def test_what_is_too_long_is_refused_unread_while_all_places_are_taken(
    connect: Connect, someone: Any, batches: Any
) -> None:
    for _ in range(LARGE_BODIES // LARGE_BODIES_PER_USER):
        user = someone()
        for _ in range(LARGE_BODIES_PER_USER):
            assert await (await connect(user)).said() == 100
    assert await (await connect(someone(), "Content-Length: 9000000")).said() == 413


@pytest.mark.parametrize("size", [SIZED, CHUNKED])
async def test_one_user_holds_not_all_places_and_who_waits_is_not_read(
    gateway: Any, connect: Connect, someone: Any, batches: Any, size: str
) -> None:
    places = gateway.app.state.edge.large_bodies
    user = someone()
    first, *others = [await connect(user) for _ in range(LARGE_BODIES_PER_USER)]
    for sender in (first, *others):
        assert await sender.said() == 100
    waiting = await connect(user, size)
    await eventually(lambda: places.waiting == 1, 60)
    # Anybody else is read at once.
    other = await connect(someone())
    assert await other.said() == 100
    await other.send()
    assert await other.said() == 200
    assert places.waiting == 1
    # Small ones need no place.
    small = await connect(user, "Content-Length: 29")
    assert await small.said() == 100
    await small.send(b'{"posts": [{"caption": "x"}]}')
    assert await small.said() == 200
    await first.send()
    assert await first.said() == 200
    assert await waiting.said() == 100
    assert places.waiting == 0


async def test_who_sends_nothing_loses_the_place(
    gateway: Any, connect: Connect, auth: Any, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stall = Pace(seconds=0.2, bytes_per_second=10)
    monkeypatch.setattr(large_body, "PACE", stall)
    for size in (SIZED, CHUNKED):
        sender = await connect(auth["Authorization"], size)
        assert (await sender.said(), await sender.said()) == (100, 408)
    assert gateway.app.state.edge.large_bodies.taken == 0


async def test_who_waits_too_long_is_told(
    gateway: Any, connect: Connect, auth: Any, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_body, "PATIENCE_SECONDS", 0.05)
    for _ in range(LARGE_BODIES_PER_USER):
        assert await (await connect(auth["Authorization"])).said() == 100
    assert await (await connect(auth["Authorization"])).said() == 429


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"posts": [{"caption": "a\\u0000"}]}', "nul_character"),
        (b'{"posts": [{"caption": "\\ud800"}]}', "lone_surrogate"),
        (b'{"posts": [{"cover_timestamp_ms": 123456789012345678901234567890}]}', "integer_too_large"),
        (b'{"posts": [{"cover_timestamp_ms": NaN}]}', "not_a_number"),
        (b'{"posts": ' + b"[" * 70 + b"]" * 70 + b"}", "too_deep"),
        (b'{"posts": ["\xff"]}', "json_invalid"),
    ],
)
async def test_what_every_other_body_is_refused_for(gateway: Any, batches: Any, auth: Any, body: bytes, code: str) -> None:
    for padding in (b"", b" " * 600_000):
        answer = await gateway.post(BULK, content=body + padding, headers={**auth, "Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)
    assert batches.received == []


async def test_a_client_that_leaves_gives_its_place_back(gateway: Any, connect: Connect, auth: Any, batches: Any) -> None:
    sender = await connect(auth["Authorization"])
    assert await sender.said() == 100
    assert gateway.app.state.edge.large_bodies.taken == 1
    await sender.leave()
    await eventually(lambda: gateway.app.state.edge.large_bodies.taken == 0, 60)
