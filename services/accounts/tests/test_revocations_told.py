"""Who is told that a session or key has ended can rely on it: the broker knows it by then, or a second has passed.

A closed gate stops every relay where it takes a revocation out of the outbox: committed by then, and told to nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from common.testing.eventually import eventually

pytestmark = pytest.mark.integration

WAITING = "SELECT count(*) FROM outbox_messages WHERE routing_key LIKE '%.revoked.v1'"

Open = Callable[[], Awaitable[None]]


@pytest.fixture
async def open_gate(closed_gate: Callable[[], AbstractAsyncContextManager[Open]]) -> AsyncIterator[Open]:
    """Close the gate, and give how to open it."""
    async with closed_gate() as open_it:
        yield open_it


async def log_out(accounts: Any, person: Any) -> Any:
    return await accounts.http.post("/internal/auth/logout", headers=person.auth)


async def revoke_key(accounts: Any, person: Any) -> Any:
    keys = (await accounts.http.get("/internal/auth/api-keys", headers=person.auth)).json()["items"]
    return await accounts.http.delete(f"/internal/auth/api-keys/{keys[0]['id']}", headers=person.auth)


async def reuse(accounts: Any, person: Any) -> Any:
    body = {"refresh_token": person.refresh_token}
    return await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)


async def with_key_and_old_token(accounts: Any) -> Any:
    """Register somebody who has a key, and whose first refresh token is an old one by now."""
    person = await accounts.register()
    wanted = {"name": "k", "scopes": ["posts:read"]}
    assert (await accounts.http.post("/internal/auth/api-keys", json=wanted, headers=person.auth)).status_code == 201
    newer = (await reuse(accounts, person)).json()["refresh_token"]
    body = {"refresh_token": newer}
    assert (await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)).status_code == 200
    return person


ENDINGS = [(log_out, 204), (revoke_key, 204), (reuse, 401)]


@pytest.mark.parametrize(("end", "status"), ENDINGS)
async def test_the_answer_waits_until_the_broker_knows(
    start: Any, events: Any, open_gate: Open, end: Callable[..., Awaitable[Any]], status: int
) -> None:
    accounts = await start(revocation_patience_seconds=30)
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
