"""Another password: what was open with the old one ends, whoever holds it."""

import asyncio
from typing import Any

import asyncpg
import pytest

from accounts.usecases.login import LoginAttempt
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
OLD, NEW = "correct horse battery", "another horse, another battery"
ME, KEYS = "/internal/auth/me", "/internal/auth/api-keys"
WANTED = {"name": "robot", "scopes": ["accounts:read"]}


async def change(accounts: Any, auth: dict[str, str], current: str = OLD, new: str = NEW, **more: Any) -> Any:
    body = {"current_password": current, "new_password": new} | more
    headers = auth | {"X-Forwarded-Client-IP": "192.0.2.1", "X-Forwarded-User-Agent": "test-agent"}
    return await accounts.http.post("/internal/auth/password", json=body, headers=headers)


def auth_of(tokens: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def test_all_sessions_end_and_one_goes_on_with_new_tokens(accounts: Any, events: Any) -> None:
    person, stranger = await accounts.register(), await accounts.register()
    other = (await accounts.login(person.email)).json()
    key = (await accounts.http.post(KEYS, json=WANTED, headers=person.auth)).json()["key"]
    answer = await change(accounts, person.auth, new="A\u030angstro\u0308m battery")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert (await accounts.http.get(ME, headers=auth_of(tokens))).status_code == 200
    for auth in (person.auth, auth_of(other)):
        refused = await accounts.http.get(ME, headers=auth)
        assert (refused.status_code, refused.json()["code"]) == (401, "session_revoked")
    for token, status in ((person.refresh_token, 401), (other["refresh_token"], 401), (tokens["refresh_token"], 200)):
        body = {"refresh_token": token}
        refreshed = await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)
        assert refreshed.status_code == status
    assert (await accounts.http.get(ME, headers=stranger.auth)).status_code == 200
    assert (await accounts.login(person.email, OLD)).status_code == 401
    assert (await accounts.login(person.email, "\u00c5ngstr\u00f6m battery")).status_code == 200

    exchange = {"json": {"key": key}, "headers": accounts.gateway}
    assert (await accounts.http.post("/internal/api-keys/exchange", **exchange)).status_code == 200
    again = await change(accounts, auth_of(tokens), "\u00c5ngstr\u00f6m battery", revoke_api_keys=True)
    assert again.status_code == 200
    assert (await accounts.http.post("/internal/api-keys/exchange", **exchange)).status_code == 401

    first, second = await events.of("accounts.user.password_changed.v1", 2)
    assert first.data == {"user_id": str(person.user_id), "sessions_revoked": 2, "api_keys_revoked": 0}
    assert second.data == {"user_id": str(person.user_id), "sessions_revoked": 2, "api_keys_revoked": 1}
    origin = (first.actor, first.clientip, first.useragent)
    assert origin == (f"user:{person.user_id}", "192.0.2.1", "test-agent")
    revoked = await events.of("accounts.session.revoked.v1", 4)
    assert {event.data["reason"] for event in revoked} == {"password_changed"}
    await events.of("accounts.api_key.revoked.v1", 1)


async def test_guesses_at_the_current_password_count_as_those_of_logins(start: Any, events: Any) -> None:
    accounts = await start(login_free_failures=2)
    person = await accounts.register()
    for field, value in (("new_password", "short"), ("new_password", "x" * 1_000_000), ("current_password", "x" * 1_000_000)):
        answer = await change(accounts, person.auth, **{field.partition("_")[0]: value})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (await change(accounts, person.auth, revoke_api_keys="yes")).status_code == 422
    wrong = await change(accounts, person.auth, "a wrong guess")
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_current_password")
    assert (await accounts.login(person.email, "a wrong guess")).status_code == 401
    assert (await change(accounts, person.auth, "a wrong guess")).status_code == 403
    await accounts.execute(
        "UPDATE login_throttles SET blocked_until = now() + interval '1 hour' WHERE blocked_until > last_failed_at"
    )
    refused = await change(accounts, person.auth)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    reasons = [event.data["reason"] for event in await events.of("accounts.login.failed.v1", 4)]
    assert reasons == ["wrong_current_password", "invalid_credentials", "wrong_current_password", "too_many_attempts"]
    await accounts.execute("UPDATE login_throttles SET blocked_until = now()")
    assert (await change(accounts, person.auth)).status_code == 200
    theirs = f"subject_hash = '\\x{LoginAttempt.of(person.email, None).person.hex()}'"
    assert await accounts.scalar(f"SELECT count(*) FROM login_throttles WHERE {theirs}") == 0, "a success forgets the failures"


async def test_a_login_under_way_with_the_old_password_opens_nothing(accounts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await accounts.register()
    looked_at, go_on = asyncio.Event(), asyncio.Event()
    verify = accounts.parts.passwords.verify

    async def held_up(stored: str | None, password: Any) -> Any:
        verdict = await verify(stored, password)
        if not looked_at.is_set():
            looked_at.set()
            await go_on.wait()
        return verdict

    monkeypatch.setattr(accounts.parts.passwords, "verify", held_up)
    under_way = asyncio.create_task(accounts.login(person.email))
    await looked_at.wait()
    assert (await change(accounts, person.auth)).status_code == 200
    go_on.set()
    assert (await under_way).status_code == 401
    assert await accounts.scalar("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == 1


async def test_a_session_that_has_ended_meanwhile_leaves_no_key_and_no_password(accounts: Any) -> None:
    """Both were let in as the session was live, and wait for what a change of the password holds meanwhile."""
    person = await accounts.register()
    holder = await asyncpg.connect(accounts.parts.settings.database_url.get_secret_value())
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM users FOR UPDATE")
            making = asyncio.create_task(accounts.http.post(KEYS, json=WANTED, headers=person.auth))
            changing = asyncio.create_task(change(accounts, person.auth))

            async def both_wait() -> bool:
                waiting = (
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                return int(await accounts.scalar(waiting)) == 2

            await eventually(both_wait)
            await holder.execute("UPDATE sessions SET revoked_at = now()")
    finally:
        await holder.close()
    for answer in (await making, await changing):
        assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")
    assert await accounts.scalar("SELECT count(*) FROM api_keys") == 0
    assert (await accounts.login(person.email, OLD)).status_code == 200
