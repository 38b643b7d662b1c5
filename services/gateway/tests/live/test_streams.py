"""The live stream: a user's own events as they happen, for as long as the user may see them and keeps up."""

import asyncio
import errno
import socket
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import aio_pika
import pytest
from pydantic import SecretStr

from common.auth.service_tokens import refused
from common.contracts.accounts import LoginFailed
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.errors import Problem, Transient
from common.testing.eventually import eventually
from common.testing.keys import UserKeys
from gateway.api.routes import events
from gateway.domain.live_event import live_event
from gateway.handlers import live_feed
from gateway.usecases import live_streams
from gateway.usecases.follow_events import Pace

pytestmark = pytest.mark.integration

PATH = "/api/v1/events"
FAR_AWAY_S = 300.0
"""For what is not to happen within a test."""


async def test_a_user_hears_the_own_events_and_no_others(
    gateway: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    made: Any,
    follow: Any,
) -> None:
    mine, another, refused = made(user_id), made(uuid4()), login_failed(user_id)
    async with follow(gateway, auth) as reading:
        assert reading.answer.headers["content-type"].startswith("text/event-stream")
        assert reading.answer.headers["cache-control"] == "no-store"
        await tell(another, mine, refused)
        first, second = await reading.next(), await reading.next()
    assert (first.id, first.name) == (str(mine.id), mine.type)
    assert first.data == mine.model_dump(mode="json", exclude_none=True, exclude={"traceparent"})
    assert (second.id, second.data["data"]["user_id"]) == (str(refused.id), str(user_id))


async def test_each_stream_of_a_user_hears_it(
    gateway: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    made: Any,
    follow: Any,
) -> None:
    event = made(user_id)
    async with follow(gateway, auth) as one, follow(gateway, auth) as other:
        await tell(event)
        assert [(await one.next()).id, (await other.next()).id] == [str(event.id)] * 2


async def test_what_cannot_be_read_is_left_out(
    gateway: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    made: Any,
    follow: Any,
    broker_channel: Any,
) -> None:
    exchange = await broker_channel.get_exchange("cuepost.events")
    good = made(user_id)
    async with follow(gateway, auth) as reading:
        for body in (b"no json", b"[]", b"{}", b'{"userid": "x", "data": {}}', b'{"data": 5}'):
            await exchange.publish(aio_pika.Message(body), routing_key="odd.body.sent.v1")
        await tell(good)
        assert (await reading.next()).id == str(good.id)


async def test_heartbeats_come_while_nothing_happens(
    run_gateway: Any,
    services: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    made: Any,
    follow: Any,
) -> None:
    async with run_gateway(live_heartbeat_seconds=0.05) as client, follow(client, auth) as reading:
        next_one = asyncio.create_task(reading.next())
        await eventually(lambda: reading.heartbeats >= 2)
        await tell(made(user_id))
        assert (await next_one).name == "cuepost.accounts.account.updated.v1"


async def test_head_tells_what_it_is(gateway: Any, auth: Any) -> None:
    answer = await gateway.head(PATH, headers=auth)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(("headers", "status"), [(None, 401), (["posts:read"], 403), (["audit:read"], 200)])
async def test_who_may_follow(gateway: Any, user_keys: UserKeys, headers: Any, status: int) -> None:
    authorization = {} if headers is None else user_keys.authorization(api_key_id=str(uuid4()), scopes=headers)
    async with gateway.stream("GET", PATH, headers=authorization) as answer:
        assert answer.status_code == status


async def test_a_session_that_is_revoked_is_cut(
    gateway: Any,
    user_keys: UserKeys,
    user_id: Any,
    follow: Any,
    revoke: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what is told, not by a look at the token that would find it some time."""
    monkeypatch.setattr(gateway.app.state.edge.follower, "_pace", Pace(heartbeat=15.0, recheck=FAR_AWAY_S))
    session, other = str(uuid4()), str(uuid4())
    async with (
        asyncio.timeout(60),
        follow(gateway, user_keys.authorization(user_id, session_id=session)) as reading,
        follow(gateway, user_keys.authorization(user_id, session_id=other)) as untouched,
    ):
        await revoke(session)
        (closed,) = [frame for frame in await reading.rest() if frame.name == "closed"]
        assert (closed.data["code"], closed.data["reconnect"]) == ("session_revoked", False)
        assert closed.id is None
        still = asyncio.create_task(untouched.next())
        assert not still.done()
        still.cancel()


@pytest.mark.parametrize(
    ("answers", "code", "reconnect"),
    [
        ([refused("token_expired", "The access token has expired.")], "token_expired", False),
        ([Problem(503, "authentication_unavailable", "Not now.")], "authentication_unavailable", True),
        ([Transient("accounts is away"), refused("invalid_api_key", "Gone.")], "invalid_api_key", False),
    ],
)
async def test_the_token_is_looked_at_again(
    run_gateway: Any,
    services: Any,
    auth: Any,
    follow: Any,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Exception],
    code: str,
    reconnect: bool,
) -> None:
    """While accounts is away nothing is known against it, so the stream goes on."""
    monkeypatch.setattr("gateway.app.LIVE_RECHECK_S", 0.05)
    async with run_gateway() as client, follow(client, auth) as reading:
        authenticate = AsyncMock(side_effect=answers)
        monkeypatch.setattr(client.app.state.edge.authenticator, "authenticate", authenticate)
        (closed,) = await reading.rest()
    assert (closed.name, closed.data["code"], closed.data["reconnect"]) == ("closed", code, reconnect)
    assert authenticate.await_count == len(answers)


async def test_places_are_limited(run_gateway: Any, services: Any, auth: Any, user_keys: UserKeys, follow: Any) -> None:
    async with run_gateway(live_streams=2, live_streams_per_user=1) as client, follow(client, auth):
        assert await refusal(client, auth) == (429, "too_many_at_once")
        async with follow(client, user_keys.authorization(session_id=str(uuid4()))):
            assert await refusal(client, user_keys.authorization(session_id=str(uuid4()))) == (503, "all_places_taken")


async def test_without_a_broker_nobody_is_left_waiting(
    run_gateway: Any,
    services: Any,
    auth: Any,
    gate: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_feed, "OPEN_PATIENCE_S", 0.2)
    async with run_gateway(amqp_url=SecretStr(gate[1])) as client:
        gate[0].cut()
        assert await refusal(client, auth) == (503, "stream_unavailable")


async def test_a_gateway_that_stops_says_so(run_gateway: Any, services: Any, auth: Any, follow: Any) -> None:
    async with run_gateway() as client, follow(client, auth) as reading:
        client.app.state.stopping.set()
        (closed,) = await reading.rest()
    assert (closed.data["code"], closed.data["reconnect"]) == ("restarting", True)


async def test_nobody_stays_while_revocations_are_not_known(
    run_gateway: Any,
    services: Any,
    auth: Any,
    follow: Any,
    gate: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with run_gateway(amqp_url=SecretStr(gate[1])) as client, follow(client, auth) as reading:
        monkeypatch.setattr("gateway.security.revocations.STALE_AFTER_S", 0.1)
        services.revocations_fail = True
        gate[0].cut()
        (closed,) = await reading.rest()
    assert (closed.data["code"], closed.data["reconnect"]) == ("authentication_unavailable", True)


async def test_a_slow_reader_is_dropped_and_told(
    run_gateway: Any,
    services: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    made: Any,
    follow: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client reads nothing while more comes than may wait; what it reads in the end closes with the reason."""
    monkeypatch.setattr(live_streams, "MAX_WAITING_BYTES", 300_000)
    async with run_gateway() as client:
        reader = opened(client, auth, buffer=131_072)
        (stream,) = await streams_of(client)
        while stream.closing is None:
            await tell(*(made(user_id, text="x" * 50_000) for _ in range(20)))
        text = await asyncio.to_thread(read_all, reader)
    assert b"event: closed\ndata: {" in text[-400:]
    assert b'"too_slow"' in text[-400:]


@pytest.mark.parametrize(("stall_seconds", "is_revoked"), [(0.5, False), (FAR_AWAY_S, True)], ids=["stalled", "revoked"])
async def test_who_takes_nothing_is_cut(
    run_gateway: Any,
    services: Any,
    user_keys: UserKeys,
    user_id: Any,
    tell: Any,
    made: Any,
    revoke: Any,
    monkeypatch: pytest.MonkeyPatch,
    stall_seconds: float,
    is_revoked: bool,
) -> None:
    """Far more than the sockets hold waits for a client that never reads; each time but one way is left to end it."""
    monkeypatch.setattr("gateway.app.LIVE_RECHECK_S", FAR_AWAY_S)
    monkeypatch.setattr(events, "STALL_S", stall_seconds)
    monkeypatch.setattr(live_streams, "MAX_WAITING_BYTES", 100_000_000)
    session = str(uuid4())
    async with run_gateway() as client:
        reader = opened(client, user_keys.authorization(user_id, session_id=session), buffer=4_096)
        (stream,) = await streams_of(client)
        told = [made(user_id, text="x" * 200_000) for _ in range(60)]
        await tell(*told)
        if is_revoked:
            await eventually(lambda: stream._waiting and stream._waiting[-1].id == str(told[-1].id))
            await revoke(session)
        await eventually(lambda: reader.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET)
        await eventually(lambda: not client.app.state.edge.live_streams)
        reader.close()


def opened(client: Any, auth: dict[str, str], *, buffer: int) -> socket.socket:
    """Open a stream that is not read; the client's system takes about `buffer` bytes of it."""
    address = client.base_url
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    reader.connect((address.host, address.port))
    lines = [f"GET {PATH} HTTP/1.1", f"Host: {address.host}", *(f"{name}: {value}" for name, value in auth.items())]
    reader.sendall("\r\n".join([*lines, "", ""]).encode())
    return reader


async def streams_of(client: Any) -> Any:
    """Return the gateway's streams, when one is open and hears events."""
    edge = client.app.state.edge
    await eventually(lambda: len(edge.live_streams) == 1 and edge.live_feed._bound.is_set())
    return edge.live_streams


def read_all(reader: socket.socket) -> bytes:
    reader.settimeout(20)
    parts = []
    while part := reader.recv(65536):
        parts.append(part)
        if b"event: closed" in b"".join(parts[-2:]) and part.endswith(b"0\r\n\r\n"):
            break
    reader.close()
    return b"".join(parts)


async def refusal(client: Any, auth: Any) -> tuple[int, str]:
    answer = await client.get(PATH, headers=auth)
    return answer.status_code, answer.json()["code"]


def login_failed(user_id: Any) -> Any:
    return wrap(
        LoginFailed(user_id=user_id, reason="bad_password"), service="accounts", subject=str(user_id), context=Context()
    )


@pytest.mark.parametrize(
    "event", [{}, {"data": 5}, {"data": {"user_id": 7}, "id": "x", "type": "t"}, {"data": {}, "userid": "no"}]
)
def test_what_is_no_event_raises_what_the_feed_expects(event: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        live_event(event)


def test_events_of_nobody_are_for_nobody() -> None:
    assert live_event({"id": "x", "type": "t", "data": {}}) is None
