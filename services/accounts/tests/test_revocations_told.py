"""Who is told that a session or key has ended can rely on it: the broker knows it by then, or gateways had a second to read of it.

A closed gate stops every relay where it takes a revocation out of the outbox: committed by then, and told to nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from common.testing.eventually import eventually
from common.testing.tcp_gate import TcpGate, tcp_gate

pytestmark = pytest.mark.integration

WAITING = "SELECT count(*) FROM outbox_messages WHERE routing_key LIKE '%.revoked.v1'"

Open = Callable[[], Awaitable[None]]


@pytest.fixture
async def open_gate(closed_gate: Callable[[], AbstractAsyncContextManager[Open]]) -> AsyncIterator[Open]:
    """Close the gate, and give how to open it."""
    async with closed_gate() as open_it:
        yield open_it


@pytest.fixture
async def database_gate(settings: Any) -> AsyncIterator[tuple[TcpGate, str]]:
    """Open a gate in front of the database; it outlives the replicas behind it."""
    async with tcp_gate(settings.database_url.get_secret_value()) as opened:
        yield opened


async def log_out(accounts: Any, person: Any) -> Any:
    return await accounts.http.post("/internal/auth/logout", headers=person.auth)


async def revoke_key(accounts: Any, person: Any) -> Any:
    return await accounts.http.delete(f"/internal/auth/api-keys/{person.key_id}", headers=person.auth)


async def reuse(accounts: Any, person: Any) -> Any:
    body = {"refresh_token": person.refresh_token}
    return await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)


async def with_key_and_old_token(accounts: Any) -> Any:
    """Register somebody who has a key, and whose first refresh token is an old one by now."""
    person = await accounts.register()
    wanted = {"name": "k", "scopes": ["posts:read"]}
    made = await accounts.http.post("/internal/auth/api-keys", json=wanted, headers=person.auth)
    person.key_id = made.json()["id"]
    newer = (await reuse(accounts, person)).json()["refresh_token"]
    body = {"refresh_token": newer}
    assert (await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)).status_code == 200
    return person


async def change_password(accounts: Any, person: Any) -> Any:
    body = {"current_password": "correct horse battery", "new_password": "another horse battery"}
    return await accounts.http.post("/internal/auth/password", json=body, headers=person.auth)


ENDINGS = [(log_out, 204), (revoke_key, 204), (reuse, 401)]


@pytest.mark.parametrize(("end", "status"), [*ENDINGS, (change_password, 200)])
async def test_the_answer_waits_until_the_broker_knows(
    start: Any, events: Any, open_gate: Open, end: Callable[..., Awaitable[Any]], status: int
) -> None:
    accounts = await start(revocation_patience_seconds=8)
    person = await with_key_and_old_token(accounts)
    answer = asyncio.create_task(end(accounts, person))

    async def committed() -> bool:
        return int(await accounts.scalar(WAITING)) == 1

    await eventually(committed)
    done, _ = await asyncio.wait([answer], timeout=0.5)
    assert done == set(), "answered before anybody was told"
    await open_gate()
    assert (await answer).status_code == status
    assert await accounts.scalar(WAITING) == 0
    await events.of("accounts.api_key.revoked.v1" if end is revoke_key else "accounts.session.revoked.v1")


@pytest.mark.parametrize(("end", "status"), ENDINGS)
async def test_a_broker_that_says_nothing_is_not_waited_for_without_end(
    start: Any, open_gate: Open, end: Callable[..., Awaitable[Any]], status: int
) -> None:
    accounts = await start(revocation_patience_seconds=0.2)
    person = await with_key_and_old_token(accounts)
    assert (await end(accounts, person)).status_code == status
    assert await accounts.scalar(WAITING) == 1
    told = (await accounts.http.get("/internal/revocations", headers=accounts.gateway)).json()["items"]
    assert len(told) == 1, "who reads knows it"


@pytest.mark.parametrize("end", [log_out, revoke_key])
async def test_what_the_broker_refused_before_is_not_waited_for(
    start: Any, events: Any, end: Callable[..., Awaitable[Any]]
) -> None:
    """Somebody else's revocation, of which gateways have read long ago, is offered to the broker again in an hour."""
    accounts = await start(revocation_patience_seconds=8)
    person = await with_key_and_old_token(accounts)
    await accounts.execute(
        "INSERT INTO outbox_messages (id, exchange, routing_key, body, refusals, not_before) VALUES"
        " ('01900000-0000-7000-8000-000000000000', 'cuepost.events', 'accounts.session.revoked.v1', '{}', 12,"
        " now() + interval '1 hour')"
    )
    with capture_logs() as logs:
        assert (await end(accounts, person)).status_code == 204
    assert "revocation_not_sent_yet" not in {line["event"] for line in logs}
    await events.of("accounts.api_key.revoked.v1" if end is revoke_key else "accounts.session.revoked.v1")
    assert await accounts.scalar(WAITING) == 1


@pytest.mark.parametrize(("end", "ended"), [(log_out, 401), (revoke_key, 404), (reuse, 401)])
async def test_without_the_databases_word_nobody_is_told_that_it_ended(
    database_gate: Any, settings: Any, start: Any, open_gate: Open, end: Callable[..., Awaitable[Any]], ended: int
) -> None:
    """It freezes right after the commit: the broker has not heard of it, and no gateway can read of it."""
    gate, address = database_gate
    accounts = await start(database_url=address, revocation_patience_seconds=5)
    person = await with_key_and_old_token(accounts)
    looking = await asyncpg.connect(settings.database_url.get_secret_value())
    answer = asyncio.create_task(end(accounts, person))

    async def committed() -> bool:
        return int(await looking.fetchval(WAITING)) == 1

    try:
        await eventually(committed)
        gate.open.clear()
        unknown = await answer
    finally:
        gate.mend()
        await looking.close()
    assert unknown.status_code == 503, "nobody knows whether a gateway has heard"
    assert int(unknown.headers["retry-after"]) >= 1
    await open_gate()
    assert (await end(accounts, person)).status_code == ended, "it has ended, whatever was answered"
