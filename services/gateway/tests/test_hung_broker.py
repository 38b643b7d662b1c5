"""A broker that hangs: connections stay open and nothing answers on them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from common.clock import rfc3339, utc_now
from common.contracts.accounts import ApiKeyRevoked, SessionRevoked
from common.testing.eventually import eventually
from common.testing.keys import UserKeys
from common.testing.stalls import Stalls
from common.testing.tcp_gate import TcpGate

pytestmark = pytest.mark.integration

TIMES = 3
STILL_S = 0.05
"""Longer than this nothing here keeps the event loop; what does is the machine."""


async def let_in_for(client: Any, headers: dict[str, str]) -> float:
    """Ask until the answer is 401; returns how many seconds from now on a request that was let in could still be made."""
    loop = asyncio.get_running_loop()
    began = last = loop.time()

    async def refused() -> bool:
        nonlocal last
        asked = loop.time()
        if (await client.get("/api/v1/auth/me", headers=headers)).status_code == 401:
            return True
        last = asked
        return False

    await eventually(refused, interval=0.01)
    return last - began


@pytest.mark.parametrize("how", ["hung", "cut"])
async def test_a_logout_counts_within_a_second_on_both_gateways(
    run_gateway: Any, services: Any, user_keys: UserKeys, gate: tuple[TcpGate, str], emit: Any, how: str
) -> None:
    """One gateway hears the event; the other's broker connection hangs, or is cut and cannot be made again, at that moment.

    Each time: only what this event loop, on which all of it runs, was measured to stand still is allowed on top.
    """
    services.answer("GET", "/internal/auth/me", {"id": "x"})
    later = utc_now() + timedelta(hours=1)
    async with run_gateway() as well, run_gateway(amqp_url=gate[1]) as alone:

        async def leave(meanwhile: Callable[[], None]) -> None:
            """End a session and a key; nobody with either may get in for a second."""
            session_id, key_id = uuid4(), uuid4()
            headers = user_keys.authorization(session_id=str(session_id))
            of_key = user_keys.authorization(api_key_id=str(key_id), scopes=["posts:read"])
            for client in (well, alone):
                for sent in (headers, of_key):
                    assert (await client.get("/api/v1/auth/me", headers=sent)).status_code == 200
            stalls = Stalls(at_most=STILL_S)
            async with stalls.of_this_loop():
                meanwhile()
                services.revocations = [
                    {"kind": "session", "id": str(session_id), "tokens_expire_at": rfc3339(later)},
                    {"kind": "api_key", "id": str(key_id), "tokens_expire_at": rfc3339(later)},
                ]
                await emit(SessionRevoked(session_id=session_id, user_id=uuid4(), reason="logout", tokens_expire_at=later))
                await emit(ApiKeyRevoked(api_key_id=key_id, user_id=uuid4()))
                taken = await asyncio.gather(
                    *(let_in_for(client, sent) for client in (well, alone) for sent in (headers, of_key))
                )
            assert max(taken) < 1.0 + stalls.seconds, (taken, stalls.seconds)

        def broken() -> None:
            gate[0].open.clear()
            if how == "cut":
                gate[0].cut()

        for client in (well, alone):
            await eventually(lambda client=client: client.app.state.feed._live)
        await leave(broken)
        for _ in range(TIMES - 1):
            await leave(lambda: None)
        gate[0].mend()


async def test_nobody_is_let_in_when_the_broker_hangs_and_accounts_is_away(
    run_gateway: Any, services: Any, user_keys: UserKeys, gate: tuple[TcpGate, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.security.revocations.STALE_AFTER_S", 0.5)
    async with run_gateway(amqp_url=gate[1]) as client:
        feed = client.app.state.feed
        await eventually(lambda: feed._live)
        services.revocations_fail = True
        services.calls.clear()
        # Not read for longer than what was read counts, but events come.
        await eventually(lambda: len(services.calls_of("/internal/revocations")) >= 5)
        assert feed.healthy() is None
        gate[0].open.clear()
        await eventually(lambda: feed.healthy() is not None)
        answer = await client.get("/api/v1/auth/me", headers=user_keys.authorization())
        assert (answer.status_code, answer.json()["code"]) == (503, "authentication_unavailable")
        gate[0].open.set()
        # A connection that hung may come back broken, and is trusted again only after a reading.
        services.revocations_fail = False
        await eventually(lambda: feed.healthy() is None)


async def test_a_broker_that_hung_is_trusted_again_only_after_a_reading(
    run_gateway: Any, services: Any, gate: tuple[TcpGate, str]
) -> None:
    """What was revoked while it hung was told to whoever read: a gateway that could not read must not go by events alone."""
    async with run_gateway(amqp_url=gate[1]) as client:
        feed = client.app.state.feed
        await eventually(lambda: feed._live)
        services.revocations_fail = True
        gate[0].open.clear()
        await eventually(lambda: not feed._live, timeout=60.0)
        gate[0].open.set()
        reads = len(services.calls)
        # The connection may have survived; two more readings fail on it, or on the next one.
        await eventually(lambda: feed._connection is not None and len(services.calls) > reads + 4, timeout=60.0)
        assert not feed._live
        services.revocations_fail = False
        await eventually(lambda: feed._live, timeout=60.0)


async def test_nobody_is_let_in_when_accounts_is_away_for_long(run_gateway: Any, services: Any, user_keys: UserKeys) -> None:
    """The broker answers all the time: that alone is no word about what accounts has revoked before it died."""
    services.answer("GET", "/internal/auth/me", {"id": "x"})
    async with run_gateway(revocations_unread_seconds=5) as client:
        feed, headers = client.app.state.feed, user_keys.authorization()
        await eventually(lambda: feed._live)
        assert (await client.get("/api/v1/auth/me", headers=headers)).status_code == 200
        services.revocations_fail = True
        await eventually(lambda: feed.healthy() is not None, timeout=60.0)
        assert feed._live
        assert (feed.healthy() or "").startswith("revocations unknown: accounts has not answered for ")
        answer = await client.get("/api/v1/auth/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "authentication_unavailable")
        services.revocations_fail = False
        await eventually(lambda: feed.healthy() is None, timeout=60.0)
        assert (await client.get("/api/v1/auth/me", headers=headers)).status_code == 200


async def test_readiness_tells_a_hung_broker(run_gateway: Any, services: Any, gate: tuple[TcpGate, str]) -> None:
    async with run_gateway(amqp_url=gate[1]) as client:
        gate[0].open.clear()
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["broker"]["ok"] is False
        gate[0].open.set()

        async def ready() -> bool:
            return bool((await client.get("/readyz")).status_code == 200)

        await eventually(ready)
