"""Refreshing a session: rotation, lost answers, and old tokens that come back."""

import asyncio
from typing import Any

import pytest

from accounts.domain.user import REFRESHES_MAX
from accounts.loops.retention import Retention

pytestmark = pytest.mark.integration


async def refresh(accounts: Any, token: str) -> Any:
    return await accounts.http.post("/internal/auth/refresh", json={"refresh_token": token}, headers=accounts.gateway)


async def me(accounts: Any, token: str) -> Any:
    return await accounts.http.get("/internal/auth/me", headers={"Authorization": f"Bearer {token}"})


async def test_refresh_replaces_both_tokens_and_an_old_one_ends_the_session(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    second = (await refresh(accounts, person.refresh_token)).json()
    assert second["refresh_token"] != person.refresh_token
    newest = (await refresh(accounts, second["refresh_token"])).json()
    again = await refresh(accounts, person.refresh_token)
    assert (again.status_code, again.json()["code"]) == (401, "refresh_token_reused")
    assert again.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    after = await refresh(accounts, newest["refresh_token"])
    assert (after.status_code, after.json()["code"]) == (401, "invalid_refresh_token")
    for token in (person.access_token, second["access_token"], newest["access_token"]):
        answer = await me(accounts, token)
        assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")
    revoked = (await events.of("accounts.session.revoked.v1"))[0]
    assert revoked.data["reason"] == "refresh_token_reused"
    assert revoked.userid == person.user_id


async def test_an_old_token_ends_the_session_however_old_it_is(start: Any) -> None:
    """Whose token was stolen and used may come back after weeks: while the thief's session lives, that ends it."""
    accounts = await start(refresh_token_ttl_seconds=3600)
    person, gone = await accounts.register(), await accounts.register()
    second = (await refresh(accounts, person.refresh_token)).json()
    newest = (await refresh(accounts, second["refresh_token"])).json()
    await refresh(accounts, gone.refresh_token)
    lives = "SELECT bool_and(abs(extract(epoch FROM expires_at - created_at) - 3600) < 600) FROM {}"
    assert [await accounts.scalar(lives.format(table)) for table in ("sessions", "refresh_tokens")] == [True, True]
    await accounts.execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE used_at IS NOT NULL")
    await accounts.execute(f"UPDATE sessions SET expires_at = now() - interval '1 second' WHERE user_id = '{gone.user_id}'")
    await Retention(accounts.database)._remove()
    assert await accounts.scalar("SELECT count(*) FROM refresh_tokens") == 3, "of the session that is over none is kept"
    assert (await refresh(accounts, person.refresh_token)).json()["code"] == "refresh_token_reused"
    assert (await refresh(accounts, newest["refresh_token"])).json()["code"] == "invalid_refresh_token"


async def test_a_lost_answer_logs_nobody_out(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    lost = (await refresh(accounts, person.refresh_token)).json()
    answer = await refresh(accounts, person.refresh_token)
    assert answer.status_code == 200
    kept = answer.json()
    assert kept["refresh_token"] not in {lost["refresh_token"], person.refresh_token}
    assert (await refresh(accounts, kept["refresh_token"])).status_code == 200
    stolen = await refresh(accounts, lost["refresh_token"])
    assert (stolen.status_code, stolen.json()["code"]) == (401, "refresh_token_reused"), "of two branches one goes on"
    assert (await events.of("accounts.session.revoked.v1"))[0].data["reason"] == "refresh_token_reused"


async def test_the_predecessor_is_old_once_its_successor_was_used(accounts: Any) -> None:
    person = await accounts.register()
    second = (await refresh(accounts, person.refresh_token)).json()
    third = (await refresh(accounts, second["refresh_token"])).json()
    assert (await refresh(accounts, second["refresh_token"])).status_code == 200, "the answer with the third may be lost"
    assert (await refresh(accounts, person.refresh_token)).json()["code"] == "refresh_token_reused"
    assert (await refresh(accounts, third["refresh_token"])).status_code == 401


async def test_a_lost_answer_is_asked_for_again_soon_or_never(accounts: Any) -> None:
    person = await accounts.register()
    await refresh(accounts, person.refresh_token)
    await accounts.execute("UPDATE refresh_tokens SET used_at = used_at - interval '31 seconds' WHERE used_at IS NOT NULL")
    late = await refresh(accounts, person.refresh_token)
    assert (late.status_code, late.json()["code"]) == (401, "refresh_token_reused")


async def test_without_grace_the_second_use_ends_the_session(start: Any) -> None:
    accounts = await start(refresh_grace_seconds=0)
    person = await accounts.register()
    answers = await asyncio.gather(*(refresh(accounts, person.refresh_token) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9
    assert (await me(accounts, person.access_token)).status_code == 401


async def test_the_same_token_at_once_on_two_replicas_gives_one_branch_that_goes_on(start: Any) -> None:
    """Two tabs, or a retry that overtakes: all get tokens, the first of them that is used makes the others old ones."""
    replicas = [await start(), await start()]
    person = await replicas[0].register()
    answers = await asyncio.gather(*(refresh(replicas[number % 2], person.refresh_token) for number in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    tokens = [answer.json()["refresh_token"] for answer in answers]
    assert len(set(tokens)) == 4
    used = await asyncio.gather(*(refresh(replicas[number % 2], token) for number, token in enumerate(tokens)))
    assert sorted(answer.status_code for answer in used) == [200] + [401] * 3
    assert (await me(replicas[0], answers[0].json()["access_token"])).json()["code"] == "session_revoked"


async def test_a_flood_of_one_token_is_no_lost_answer(accounts: Any) -> None:
    person = await accounts.register()
    statuses = [(await refresh(accounts, person.refresh_token)).status_code for _ in range(10)]
    assert statuses == [200] * 8 + [401] * 2


async def test_expired_and_unknown_refresh_tokens_are_refused(accounts: Any) -> None:
    person = await accounts.register()
    assert (await refresh(accounts, "no such token")).json()["code"] == "invalid_refresh_token"
    assert (await refresh(accounts, "x" * 1_000_000)).status_code == 422
    await accounts.execute(f"UPDATE sessions SET refreshes = {REFRESHES_MAX - 1}")
    last = (await refresh(accounts, person.refresh_token)).json()["refresh_token"]
    assert (await refresh(accounts, last)).json()["code"] == "invalid_refresh_token", "refreshed often enough"
    await accounts.execute("UPDATE sessions SET refreshes = 0")
    await accounts.execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
    assert (await refresh(accounts, last)).json()["code"] == "invalid_refresh_token"
