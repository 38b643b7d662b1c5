"""What was refused is told of: keys, refresh tokens, connections, syncs; not for each request of who guesses, without secrets."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from common.contracts.accounts import SyncAccount, SyncAccounts
from tiktok_simulator.faults import Fault

pytestmark = pytest.mark.integration
KEYS = "/internal/auth/api-keys"
EXCHANGE = "/internal/api-keys/exchange"
USER_INFO = "/v2/user/info/"
KEY_REFUSED, CONNECT_FAILED, SYNC_FAILED, REFRESH_REFUSED = (
    f"accounts.{name}.v1" for name in ("api_key.refused", "connect.failed", "sync.failed", "session.refresh_refused")
)


async def refused(accounts: Any, key: str, ip: str = "192.0.2.1") -> None:
    headers = accounts.gateway | {"X-Forwarded-Client-IP": ip, "X-Forwarded-User-Agent": "guesser/1"}
    answer = await accounts.http.post(EXCHANGE, json={"key": key}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")


async def a_minute_later(accounts: Any) -> None:
    await accounts.execute("UPDATE login_throttles SET blocked_until = blocked_until - interval '61 seconds'")


async def make(accounts: Any, person: Any) -> dict[str, Any]:
    expires_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"name": "robot", "scopes": ["accounts:read"], "expires_at": expires_at}
    made: dict[str, Any] = (await accounts.http.post(KEYS, json=body, headers=person.auth)).json()
    return made


async def test_guessed_keys_are_told_of_once_a_minute_for_each_address(accounts: Any, events: Any) -> None:
    guesses = [f"cpk_{uuid4().hex}" for _ in range(6)]
    for guess in guesses[:4]:
        await refused(accounts, guess)
    await refused(accounts, guesses[4], ip="192.0.2.2")
    for ip in ("2001:db8::1", "2001:db8::2"):
        await refused(accounts, guesses[4], ip=ip)
    first, *others = await events.of(KEY_REFUSED, 3)
    assert first.data == {"api_key_id": None, "user_id": None, "reason": "unknown", "times": 1}
    assert (first.subject, first.userid, first.actor, first.clientip) == ("unknown", None, None, "192.0.2.1")
    assert first.useragent == "guesser/1"
    assert {event.clientip for event in others} == {"192.0.2.2", "2001:db8::1"}
    await a_minute_later(accounts)
    await refused(accounts, guesses[5])
    assert (await events.of(KEY_REFUSED, 4))[-1].data["times"] == 4
    sent = b"".join(events.raw)
    assert not [guess for guess in guesses if guess.removeprefix("cpk_").encode() in sent]


async def test_a_key_that_was_revoked_or_has_expired_is_told_of_to_its_owner(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    revoked, expired = await make(accounts, person), await make(accounts, person)
    await accounts.http.delete(f"{KEYS}/{revoked['id']}", headers=person.auth)
    await accounts.execute(f"UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = '{expired['id']}'")
    for made in (revoked, revoked, expired, expired):
        await refused(accounts, made["key"])
    told = {event.data["reason"]: event for event in await events.of(KEY_REFUSED, 2)}
    for reason, made in (("revoked", revoked), ("expired", expired)):
        event = told[reason]
        assert event.data == {"api_key_id": made["id"], "user_id": str(person.user_id), "reason": reason, "times": 1}
        assert (event.subject, event.userid, event.actor) == (made["id"], person.user_id, f"api_key:{made['id']}")
        assert made["key"].removeprefix("cpk_").encode() not in b"".join(events.raw)


async def refresh_refused(accounts: Any, token: str, ip: str = "192.0.2.1") -> None:
    headers = accounts.gateway | {"X-Forwarded-Client-IP": ip, "X-Forwarded-User-Agent": "guesser/1"}
    answer = await accounts.http.post("/internal/auth/refresh", json={"refresh_token": token}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_refresh_token")


async def test_guessed_refresh_tokens_are_told_of_once_a_minute_for_each_address(accounts: Any, events: Any) -> None:
    guesses = [uuid4().hex for _ in range(4)]
    for guess, ip in zip(guesses, ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"), strict=True):
        await refresh_refused(accounts, guess, ip)
    first, other = await events.of(REFRESH_REFUSED, 2)
    assert first.data == {"session_id": None, "user_id": None, "reason": "unknown", "times": 1}
    assert (first.subject, first.userid, first.actor, first.clientip) == ("unknown", None, None, "192.0.2.1")
    assert (first.useragent, other.clientip) == ("guesser/1", "192.0.2.2")
    await a_minute_later(accounts)
    await refresh_refused(accounts, guesses[0])
    assert (await events.of(REFRESH_REFUSED, 3))[-1].data["times"] == 3
    assert not [guess for guess in guesses if guess.encode() in b"".join(events.raw)]


async def test_a_refresh_token_of_a_session_that_is_over_is_told_of_to_its_user(accounts: Any, events: Any) -> None:
    people = {reason: await accounts.register() for reason in ("revoked", "expired session", "expired token")}
    await accounts.http.post("/internal/auth/logout", headers=people["revoked"].auth)
    for name, table, key in (("expired session", "sessions", "id"), ("expired token", "refresh_tokens", "session_id")):
        of = f"(SELECT id FROM sessions WHERE user_id = '{people[name].user_id}')"
        await accounts.execute(f"UPDATE {table} SET expires_at = now() - interval '1 second' WHERE {key} = {of}")
    for person in people.values():
        for _ in range(2):
            await refresh_refused(accounts, person.refresh_token)
    told = {event.userid: event for event in await events.of(REFRESH_REFUSED, 3)}
    started = {event.userid: event.subject for event in await events.of("accounts.session.started.v1", 3)}
    for name, person in people.items():
        event, session = told[person.user_id], started[person.user_id]
        reason = name.partition(" ")[0]
        assert event.data == {"session_id": session, "user_id": str(person.user_id), "reason": reason, "times": 1}
        assert (event.subject, event.actor, event.clientip) == (session, f"user:{person.user_id}", "192.0.2.1")
        assert person.refresh_token.encode() not in b"".join(events.raw)


async def test_connections_that_fail_are_told_of_to_who_began_them(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    denied = await accounts.consent(person, simulator_deny="1")
    assert (await accounts.callback(**denied)).status_code == 400
    late = await accounts.consent(person)
    await accounts.execute("UPDATE oauth_states SET expires_at = now() - interval '1 second'")
    assert (await accounts.callback(**late)).status_code == 400
    no_code = await accounts.consent(person)
    accounts.simulator.state.faults.add(Fault(endpoint="/v2/oauth/token/", code="invalid_grant"))
    assert (await accounts.callback(**no_code)).status_code >= 400
    told = await events.of(CONNECT_FAILED, 3)
    assert [event.data["reason"] for event in told[:2]] == ["authorization_denied", "invalid_state"]
    assert told[2].data["reason"] in {"code_expired", "authorization_failed"}
    assert {(event.subject, event.userid, event.data["times"]) for event in told} == {(str(person.user_id), person.user_id, 1)}
    sent = b"".join(events.raw)
    assert not [redirect["state"] for redirect in (denied, late, no_code) if redirect["state"].encode() in sent]
    assert no_code["code"].encode() not in sent


async def test_states_that_nobody_knows_are_told_of_once_a_minute(accounts: Any, events: Any) -> None:
    for state in ("guessed", "guessed again", ""):
        assert (await accounts.callback(code="whatever", state=state)).status_code == 400
    (first,) = await events.of(CONNECT_FAILED)
    assert (first.data, first.subject) == ({"user_id": None, "reason": "invalid_state", "times": 1}, "unknown")
    await a_minute_later(accounts)
    await accounts.callback(code="whatever", state="guessed")
    assert (await events.of(CONNECT_FAILED, 2))[1].data["times"] == 3


async def test_syncs_that_fail_are_told_of(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    account_id, unknown = await accounts.connect(person), uuid4()
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, status=500, times=100))
    assert (await send(SyncAccount(account_id=account_id), person)).status == 502
    assert (await send(SyncAccount(account_id=unknown), person)).status == 404
    assert (await send(SyncAccounts(account_ids=[account_id, unknown]), person)).status == 200
    told = [(event.subject, event.data["reason"]) for event in await events.of(SYNC_FAILED, 2)]
    assert told == [(str(account_id), "tiktok_unavailable")] * 2
    accounts.simulator.state.faults.clear()
    assert (await send(SyncAccount(account_id=account_id), person)).status == 200
    await events.of("accounts.account.synced.v1")
    await events.of(SYNC_FAILED, 2)


async def test_accounts_that_a_user_does_not_have_leave_no_record(accounts: Any, send: Any, events: Any) -> None:
    """Else a request with a hundred ids that mean nothing would write a hundred records that nobody may delete."""
    person = await accounts.register()
    reply = await send(SyncAccounts(account_ids=[uuid4() for _ in range(100)]), person)
    assert [item["code"] for item in reply.body["failed"]] == ["account_not_found"] * 100
    mine = await accounts.connect(person)
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, status=500, times=100))
    await send(SyncAccount(account_id=mine), person)
    (told,) = await events.of(SYNC_FAILED)
    assert told.subject == str(mine)
