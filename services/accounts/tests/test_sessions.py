"""Sessions: how they end, and which tokens speak for one."""

from typing import Any

import pytest

from common.testing.keys import UserKeys

pytestmark = pytest.mark.integration
PASSWORD = "correct horse battery"
REGISTER = "/internal/auth/register"


async def test_logout_ends_the_session_and_no_other(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    other = (await accounts.login(person.email)).json()
    answer = await accounts.http.post("/internal/auth/logout", headers=person.auth)
    assert (answer.status_code, answer.content) == (204, b"")
    me = await accounts.http.get("/internal/auth/me", headers=person.auth)
    assert (me.status_code, me.json()["code"]) == (401, "session_revoked")
    assert "www-authenticate" in me.headers
    body = {"refresh_token": person.refresh_token}
    refreshed = await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)
    assert refreshed.status_code == 401
    headers = {"Authorization": f"Bearer {other['access_token']}"}
    assert (await accounts.http.get("/internal/auth/me", headers=headers)).status_code == 200
    revoked = (await events.of("accounts.session.revoked.v1"))[0]
    assert (revoked.data["reason"], revoked.actor) == ("logout", f"user:{person.user_id}")


async def test_forged_tokens_are_refused(accounts: Any, user_keys: UserKeys) -> None:
    person = await accounts.register()
    kid = accounts.parts.keys.signing_key().kid
    head, body, signature = person.access_token.split(".")
    stranger = UserKeys(kid)
    forged = {
        "foreign key": stranger.token(person.user_id),
        "unknown kid": user_keys.token(person.user_id),
        "alg none": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.",
        "cut": f"{head}.{body}.",
        "altered": f"{head}.{body[:-4]}AAAA.{signature}",
        "service": accounts.as_service("gateway")["Authorization"].removeprefix("Bearer "),
        "nonsense": "x",
        "long": "x" * 100_000,
    }
    for name, token in forged.items():
        answer = await accounts.http.get("/internal/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, name
        assert answer.json()["code"] == "invalid_token", name
        assert "www-authenticate" in answer.headers
    missing = await accounts.http.get("/internal/auth/me")
    assert (missing.status_code, missing.json()["code"]) == (401, "unauthorized")


async def test_genuine_tokens_are_refused_when_expired_or_meant_for_others(accounts: Any) -> None:
    person = await accounts.register()
    key = accounts.parts.keys.signing_key()
    signer = UserKeys(key.kid)
    signer.private_key = key.private_key
    for claims, code in (
        ({"exp": 1}, "token_expired"),
        ({"aud": "someone-else"}, "invalid_token"),
        ({"iss": "someone-else"}, "invalid_token"),
        ({"sub": None}, "invalid_token"),
        ({"sid": "no uuid"}, "invalid_token"),
        ({"sid": None}, "invalid_token"),
    ):
        answer = await accounts.http.get("/internal/auth/me", headers=signer.authorization(person.user_id, **claims))
        assert (answer.status_code, answer.json()["code"]) == (401, code), claims


async def test_only_the_gateway_may_ask_without_a_user(accounts: Any) -> None:
    body = {"email": "x@example.com", "username": "xyz", "password": PASSWORD}
    for path in (REGISTER, "/internal/auth/login", "/internal/auth/refresh", "/internal/api-keys/exchange"):
        assert (await accounts.http.post(path, json=body)).status_code == 401
        assert (await accounts.http.post(path, json=body, headers=accounts.as_service("scheduler"))).status_code == 403
    assert (await accounts.http.get("/internal/revocations", headers=accounts.as_service("publisher"))).status_code == 403
    assert (await accounts.http.get("/internal/tiktok/callback")).status_code == 401
