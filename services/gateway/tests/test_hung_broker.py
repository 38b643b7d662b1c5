"""A broker that hangs: connections stay open and nothing answers on them."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from common.clock import rfc3339, utc_now
from common.testing.eventually import eventually
from common.testing.keys import UserKeys
from common.testing.tcp_gate import TcpGate

pytestmark = pytest.mark.integration


async def test_a_logout_counts_within_two_seconds_while_the_broker_hangs(
    run_gateway: Any, services: Any, user_keys: UserKeys, gate: tuple[TcpGate, str]
) -> None:
    services.answer("GET", "/internal/auth/me", {"id": "x"})
    session_id = uuid4()
    headers = user_keys.authorization(session_id=str(session_id))
    async with run_gateway(amqp_url=gate[1]) as client:
        await eventually(lambda: client.app.state.feed._live)
        gate[0].open.clear()
        assert (await client.get("/api/v1/auth/me", headers=headers)).status_code == 200
        later = rfc3339(utc_now() + timedelta(hours=1))
        services.revocations = [{"kind": "session", "id": str(session_id), "tokens_expire_at": later}]

        async def refused() -> bool:
            return bool((await client.get("/api/v1/auth/me", headers=headers)).status_code == 401)

        await eventually(refused, timeout=2.0)
        gate[0].open.set()


async def test_nobody_is_let_in_when_the_broker_hangs_and_accounts_is_away(
    run_gateway: Any, services: Any, user_keys: UserKeys, gate: tuple[TcpGate, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.security.revocations.STALE_AFTER_S", 0.5)
    async with run_gateway(amqp_url=gate[1]) as client:
        feed = client.app.state.feed
        await eventually(lambda: feed._live)
        services.revocations_fail = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(eventually(lambda: feed.healthy() is not None, timeout=5), 1.5)
        gate[0].open.clear()
        await eventually(lambda: feed.healthy() is not None, timeout=6.0)
        answer = await client.get("/api/v1/auth/me", headers=user_keys.authorization())
        assert (answer.status_code, answer.json()["code"]) == (503, "authentication_unavailable")
        gate[0].open.set()
        await eventually(lambda: feed.healthy() is None, timeout=6.0)


async def test_readiness_tells_a_hung_broker(run_gateway: Any, services: Any, gate: tuple[TcpGate, str]) -> None:
    async with run_gateway(amqp_url=gate[1]) as client:
        gate[0].open.clear()
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["broker"]["ok"] is False
        gate[0].open.set()

        async def ready() -> bool:
            return bool((await client.get("/readyz")).status_code == 200)

        await eventually(ready, timeout=15.0)
