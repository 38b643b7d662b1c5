"""Lowering how long tokens live leaves none of those issued before alive after their session or key was ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.usecases.rotate_signing_keys import rotate_signing_keys

pytestmark = pytest.mark.integration
BEFORE, NOW = 7200, 60


@pytest.fixture(params=["login", "refresh", "opened before lives were stored"])
async def lowered(request: Any, start: Any) -> tuple[Any, dict[str, str]]:
    """Give a replica with the lower life, and headers with a token that the one with the higher life gave out last."""
    first = await start(access_token_ttl_seconds=BEFORE)
    person = await first.register()
    auth = person.auth
    if request.param == "refresh":
        body = {"refresh_token": person.refresh_token}
        await first.execute("UPDATE sessions SET tokens_expire_at = now()")
        answer = await first.http.post("/internal/auth/refresh", json=body, headers=first.gateway)
        auth = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    if request.param.startswith("opened"):
        await first.execute("UPDATE sessions SET tokens_expire_at = NULL")
    return await start(access_token_ttl_seconds=NOW), auth


async def test_a_revocation_is_told_for_the_life_the_token_was_issued_with(lowered: Any, events: Any) -> None:
    accounts, auth = lowered
    assert (await accounts.http.post("/internal/auth/logout", headers=auth)).status_code == 204
    ends = datetime.now(UTC) + timedelta(seconds=BEFORE - 60)
    told = (await events.of("accounts.session.revoked.v1"))[0]
    assert datetime.fromisoformat(told.data["tokens_expire_at"]) > ends
    await accounts.execute("UPDATE sessions SET revoked_at = revoked_at - interval '2 minutes'")
    answer = await accounts.http.get("/internal/revocations", headers=accounts.gateway)
    assert [item["kind"] for item in answer.json()["items"]] == ["session"], "a gateway that starts now hears of it"
    await accounts.execute("UPDATE sessions SET tokens_expire_at = now() - interval '1 second'")
    answer = await accounts.http.get("/internal/revocations", headers=accounts.gateway)
    assert answer.json()["items"] == [], "its tokens have ended"


async def test_a_reused_token_ends_the_session_for_as_long(start: Any, events: Any) -> None:
    first = await start(access_token_ttl_seconds=BEFORE)
    person = await first.register()
    second = await start(access_token_ttl_seconds=NOW, refresh_grace_seconds=0)
    body = {"refresh_token": person.refresh_token}
    for status in (200, 401):
        answer = await second.http.post("/internal/auth/refresh", json=body, headers=second.gateway)
        assert answer.status_code == status
    told = (await events.of("accounts.session.revoked.v1"))[0]
    assert datetime.fromisoformat(told.data["tokens_expire_at"]) > datetime.now(UTC) + timedelta(seconds=BEFORE - 60)


async def test_a_revoked_key_is_told_for_the_longest_life_a_token_of_it_can_have(start: Any) -> None:
    accounts = await start(api_key_token_ttl_seconds=30)
    person = await accounts.register()
    body = {"name": "n", "scopes": ["posts:read"]}
    made = (await accounts.http.post("/internal/auth/api-keys", json=body, headers=person.auth)).json()
    deleted = await accounts.http.delete(f"/internal/auth/api-keys/{made['id']}", headers=person.auth)
    assert deleted.status_code == 204
    await accounts.execute("UPDATE api_keys SET revoked_at = now() - interval '50 minutes'")
    answer = await accounts.http.get("/internal/revocations", headers=accounts.gateway)
    assert [item["id"] for item in answer.json()["items"]] == [made["id"]]


async def test_a_signing_key_verifies_until_the_longest_token_has_ended(start: Any) -> None:
    first = await start(access_token_ttl_seconds=BEFORE * 10)
    await first.register()
    async with first.database.transaction() as tx:
        rotation = await rotate_signing_keys(tx, first.parts.vault, overlap=timedelta(0), token_life=timedelta(seconds=NOW))
    assert rotation.old_until > datetime.now(UTC) + timedelta(seconds=BEFORE * 10)
