"""API keys: shown once, stored hashed, exchanged for short tokens, revoked."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from accounts.storage.retention import remove_outlived
from common.http.identity import CLIENT_IP_HEADER

pytestmark = pytest.mark.integration
KEYS = "/internal/auth/api-keys"
EXCHANGE = "/internal/api-keys/exchange"
PASSWORD_PATH = "/internal/auth/password"


async def make(accounts: Any, person: Any, *scopes: str, **more: Any) -> dict[str, Any]:
    body = {"name": "robot", "scopes": list(scopes) or ["accounts:read"]} | more
    answer = await accounts.http.post(KEYS, json=body, headers=person.auth)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def exchange(accounts: Any, key: str) -> Any:
    return await accounts.http.post(EXCHANGE, json={"key": key}, headers=accounts.gateway)


async def test_a_key_is_shown_once_and_stored_hashed(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    made = await make(accounts, person, "posts:write", "accounts:read", "posts:write")
    assert set(made) == {"id", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "key"}
    assert made["key"].startswith("cpk_")
    assert made["key"].startswith(made["prefix"])
    assert made["scopes"] == ["accounts:read", "posts:write"]
    listed = (await accounts.http.get(KEYS, headers=person.auth)).json()
    assert listed["total"] == 1
    assert listed["items"][0] == {name: value for name, value in made.items() if name != "key"}
    stored = await accounts.scalar("SELECT row_to_json(api_keys)::text FROM api_keys")
    assert made["key"].removeprefix("cpk_") not in stored
    created = (await events.of("accounts.api_key.created.v1"))[0]
    assert created.data["prefix"] == made["prefix"]
    assert made["key"].encode() not in b"".join(events.raw)


async def test_a_key_becomes_a_five_minute_token_with_its_scopes(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    made = await make(accounts, person, "accounts:read")
    answer = await exchange(accounts, made["key"])
    assert answer.status_code == 200
    exchanged = answer.json()
    assert (exchanged["api_key_id"], exchanged["expires_in"]) == (made["id"], 300)
    claims = jwt.decode(exchanged["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["akid"], claims["scope"]) == (str(person.user_id), made["id"], "accounts:read")
    assert "sid" not in claims
    assert claims["exp"] - claims["iat"] == 300
    auth = {"Authorization": f"Bearer {exchanged['access_token']}"}
    assert (await accounts.http.get("/internal/accounts", headers=auth)).status_code == 200
    refused = await accounts.http.get("/internal/tiktok/auth/url", headers=auth)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    for _ in range(3):
        await exchange(accounts, made["key"])
    used = (await events.of("accounts.api_key.used.v1"))[0]
    assert used.actor == f"api_key:{made['id']}"
    assert (await accounts.http.get(KEYS, headers=person.auth)).json()["items"][0]["last_used_at"] is not None


async def use_from(accounts: Any, key: str, address: str, **more: Any) -> None:
    headers = accounts.gateway | {CLIENT_IP_HEADER: address}
    answer = await accounts.http.post(EXCHANGE, json={"key": key} | more, headers=headers)
    assert answer.status_code == 200, answer.text


async def told_uses(events: Any, number: int) -> list[tuple[str, str | None]]:
    return [(event.clientip, event.data["reason"]) for event in await events.of("accounts.api_key.used.v1", number)]


async def test_a_use_from_another_address_is_told_within_the_hour(accounts: Any, events: Any) -> None:
    made = await make(accounts, await accounts.register())
    for address in ("198.51.100.1", "203.0.113.7", "198.51.100.1", "2001:db8::1", "2001:db8::2"):
        await use_from(accounts, made["key"], address)
    told = await told_uses(events, 3)
    assert set(told) == {("198.51.100.1", None), ("203.0.113.7", None), ("2001:db8::1", None)}
    await accounts.execute("UPDATE api_key_addresses SET told_at = now() - interval '61 minutes'")
    await asyncio.gather(*(use_from(accounts, made["key"], "203.0.113.7") for _ in range(5)))
    assert sorted(await told_uses(events, 4)) == sorted([*told, ("203.0.113.7", None)])
    async with accounts.parts.database.transaction() as tx:
        assert await remove_outlived(tx.connection) == (2, False)


async def test_uses_from_more_than_twenty_addresses_are_told_as_many(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    made, other = await make(accounts, person), await make(accounts, person)
    await asyncio.gather(*(use_from(accounts, made["key"], f"198.51.100.{number}") for number in range(25)))
    reasons = [reason for _, reason in await told_uses(events, 21)]
    assert sorted(reason or "" for reason in reasons) == [""] * 20 + ["many_addresses"]
    for address in ("203.0.113.1", "203.0.113.2"):
        await use_from(accounts, other["key"], address, many_addresses=True)
    await use_from(accounts, other["key"], "203.0.113.3")
    told = await told_uses(events, 23)
    assert {("203.0.113.1", "many_addresses"), ("203.0.113.3", None)} <= set(told)


async def test_keys_cannot_manage_keys_or_sessions(accounts: Any) -> None:
    person = await accounts.register()
    made = await make(accounts, person, "accounts:read", "accounts:write", "posts:write")
    auth = {"Authorization": f"Bearer {(await exchange(accounts, made['key'])).json()['access_token']}"}
    body = {"name": "more", "scopes": ["audit:read"]}
    for answer in (
        await accounts.http.post(KEYS, json=body, headers=auth),
        await accounts.http.get(KEYS, headers=auth),
        await accounts.http.delete(f"{KEYS}/{made['id']}", headers=auth),
        await accounts.http.post("/internal/auth/logout", headers=auth),
        await accounts.http.post(PASSWORD_PATH, json={"current_password": "x", "new_password": "x" * 8}, headers=auth),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "session_required")
    assert (await accounts.http.get("/internal/auth/me", headers=auth)).status_code == 200


async def test_a_revoked_key_and_its_tokens_stop_working(accounts: Any, events: Any) -> None:
    person, stranger = await accounts.register(), await accounts.register()
    made = await make(accounts, person)
    token = (await exchange(accounts, made["key"])).json()["access_token"]
    for who, key_id in ((stranger, made["id"]), (person, str(uuid4())), (person, "no-uuid")):
        assert (await accounts.http.delete(f"{KEYS}/{key_id}", headers=who.auth)).status_code == 404
    assert (await accounts.http.delete(f"{KEYS}/{made['id']}", headers=person.auth)).status_code == 204
    assert (await accounts.http.delete(f"{KEYS}/{made['id']}", headers=person.auth)).status_code == 404
    refused = await exchange(accounts, made["key"])
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_api_key")
    answer = await accounts.http.get("/internal/accounts", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert (await accounts.http.get(KEYS, headers=person.auth)).json()["items"] == []
    assert (await events.of("accounts.api_key.revoked.v1"))[0].data["api_key_id"] == made["id"]


async def test_an_expiring_key_gives_tokens_that_end_with_it(accounts: Any) -> None:
    person = await accounts.register()
    soon = (datetime.now(UTC) + timedelta(seconds=90)).isoformat()
    made = await make(accounts, person, expires_at=soon)
    assert (await exchange(accounts, made["key"])).json()["expires_in"] <= 90
    await accounts.execute("UPDATE api_keys SET expires_at = now() - interval '1 second'")
    assert (await exchange(accounts, made["key"])).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "tab\there"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "posts:read"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00Z"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"key": "cpk_mine"},
    ],
)
async def test_bad_keys_are_refused(accounts: Any, change: dict[str, Any]) -> None:
    person = await accounts.register()
    body = {"name": "robot", "scopes": ["posts:read"]} | change
    answer = await accounts.http.post(KEYS, json=body, headers=person.auth)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_keys_made_at_once_do_not_exceed_the_limit(accounts: Any) -> None:
    person = await accounts.register()
    body = {"name": "robot", "scopes": ["posts:read"]}
    answers = await asyncio.gather(*(accounts.http.post(KEYS, json=body, headers=person.auth) for _ in range(60)))
    assert sorted({answer.status_code for answer in answers}) == [201, 409]
    assert sum(answer.status_code == 201 for answer in answers) == 50


async def test_lists_are_paged_by_stable_cursors_and_keys_are_limited(accounts: Any) -> None:
    person = await accounts.register()
    names = [f"robot {number}" for number in range(50)]
    for name in names:
        await make(accounts, person, name=name)
    full = await accounts.http.post(KEYS, json={"name": "one more", "scopes": ["posts:read"]}, headers=person.auth)
    assert (full.status_code, full.json()["code"]) == (409, "too_many_api_keys")
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 20}
    while True:
        page = (await accounts.http.get(KEYS, params=params, headers=person.auth)).json()
        assert page["total"] == 50
        seen += [item["name"] for item in page["items"]]
        if not page["has_more"]:
            break
        params["cursor"] = page["cursor"]
    assert seen == names[::-1]
    for bad in ({"limit": 0}, {"limit": 51}, {"cursor": "nonsense"}, {"limit": "x"}):
        assert (await accounts.http.get(KEYS, params=bad, headers=person.auth)).status_code == 422
    other = await accounts.register()
    stolen = await accounts.http.get(KEYS, params={"cursor": params["cursor"]}, headers=other.auth)
    assert stolen.status_code == 422


async def test_expired_keys_do_not_count_and_are_removed_after_a_while(accounts: Any) -> None:
    person = await accounts.register()
    for _ in range(50):
        await make(accounts, person, expires_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    await expire_all(accounts, "1 hour")
    kept = await make(accounts, person)
    await expire_all(accounts, "91 days")
    async with accounts.parts.database.transaction() as tx:
        assert await remove_outlived(tx.connection) == (50, False)
    listed = (await accounts.http.get(KEYS, headers=person.auth)).json()
    assert [item["id"] for item in listed["items"]] == [kept["id"]]


async def expire_all(accounts: Any, ago: str) -> None:
    await accounts.execute(f"UPDATE api_keys SET expires_at = now() - interval '{ago}' WHERE expires_at IS NOT NULL")


async def test_revocations_are_told_since_a_time(accounts: Any) -> None:
    person = await accounts.register()
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = await make(accounts, person)
    await accounts.http.delete(f"{KEYS}/{made['id']}", headers=person.auth)
    session = jwt.decode(person.access_token, options={"verify_signature": False})["sid"]
    await accounts.http.post("/internal/auth/logout", headers=person.auth)
    for params in ({}, {"since": before.isoformat()}):
        answer = await accounts.http.get("/internal/revocations", params=params, headers=accounts.gateway)
        told = answer.json()
        assert [(item["kind"], item["id"]) for item in told["items"]] == [("api_key", made["id"]), ("session", session)]
        assert told["has_more"] is False
        assert datetime.fromisoformat(told["next_since"]) <= datetime.now(UTC) - timedelta(seconds=1)
        assert all(item["tokens_expire_at"] > item["revoked_at"] for item in told["items"])
    later = {"since": (datetime.now(UTC) + timedelta(seconds=5)).isoformat()}
    assert (await accounts.http.get("/internal/revocations", params=later, headers=accounts.gateway)).json()["items"] == []
    for bad in ("yesterday", "2026-01-01T00:00:00"):
        answer = await accounts.http.get("/internal/revocations", params={"since": bad}, headers=accounts.gateway)
        assert answer.status_code == 422


async def test_many_revocations_come_in_pages_without_holes(accounts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one moment: keys and sessions that a statement of an operator ended together."""
    monkeypatch.setattr("accounts.api.keys.REVOCATIONS_PER_PAGE", 3)
    people = [await accounts.register() for _ in range(3)]
    ids = {UUID((await make(accounts, person))["id"]) for person in people for _ in range(3)}
    for table in ("api_keys", "sessions"):
        await accounts.execute(f"UPDATE {table} SET revoked_at = date_trunc('hour', now())")
    ids |= {UUID(str(row)) for row in (await accounts.scalar("SELECT array_agg(id) FROM sessions"))}
    first, last = people[0], people[1]
    for table, person in (("api_keys", first), ("sessions", last)):
        await accounts.execute(f"UPDATE {table} SET revoked_at = now() WHERE user_id = '{person.user_id}'")
    found: list[UUID] = []
    params: dict[str, str] = {}
    while True:
        told = (await accounts.http.get("/internal/revocations", params=params, headers=accounts.gateway)).json()
        found += [UUID(item["id"]) for item in told["items"]]
        assert datetime.fromisoformat(told["settled_until"]) <= datetime.now(UTC) - timedelta(seconds=1)
        if not told["has_more"]:
            break
        assert len(told["items"]) == 3
        params = {"since": told["next_since"], "after": told["next_after"]}
    assert len(found) == len(ids) == 12, "each once"
    assert set(found) == ids
    assert told["next_after"] is None
