"""Registration, login, refresh with rotation, logout."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from common.testing.keys import UserKeys

pytestmark = pytest.mark.integration
PASSWORD = "correct horse battery"
REGISTER = "/internal/auth/register"


async def test_a_person_registers_and_is_told_who_they_are(accounts: Any, events: Any) -> None:
    body = {"email": "Ada@Example.COM", "username": "  \uff21da  ", "password": PASSWORD, "timezone": "Europe/Berlin"}
    headers = accounts.gateway | {"X-Forwarded-Client-IP": "192.0.2.9", "X-Forwarded-User-Agent": "curl/8"}
    answer = await accounts.http.post(REGISTER, json=body, headers=headers)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 86400)
    me = await accounts.http.get("/internal/auth/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    shown = me.json()
    assert set(shown) == {"id", "email", "username", "timezone", "created_at"}
    assert (shown["email"], shown["username"], shown["timezone"]) == ("Ada@example.com", "Ada", "Europe/Berlin")
    registered = (await events.of("accounts.user.registered.v1"))[0]
    started = (await events.of("accounts.session.started.v1"))[0]
    assert registered.subject == shown["id"]
    assert started.userid == UUID(shown["id"])
    assert (started.actor, started.clientip, started.useragent) == (f"user:{shown['id']}", "192.0.2.9", "curl/8")


async def test_an_address_is_taken_in_any_spelling_and_by_one_of_many_at_once(accounts: Any) -> None:
    bodies = [
        {"email": email, "username": "someone", "password": PASSWORD}
        for email in ("straße@example.com", "STRASSE@example.com", "Straße@EXAMPLE.com") * 2
    ]
    answers = await asyncio.gather(*(accounts.http.post(REGISTER, json=body, headers=accounts.gateway) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"email_taken"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nonsense"),
        ("email", "a@b@c"),
        ("email", "x" * 300 + "@example.com"),
        ("email", "nul\x00@example.com"),
        ("email", 7),
        ("username", "ab"),
        ("username", "x" * 51),
        ("username", "nul\x00byte"),
        ("username", "zero\u200bwidth"),
        ("username", None),
        ("password", "short"),
        ("password", "x" * 1_000_000),
        ("password", "nul\x00" + "x" * 10),
        ("password", ["x"]),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("admin", True),
    ],
)
async def test_bad_input_is_refused_by_field(accounts: Any, field: str, value: Any) -> None:
    body = {"email": "ok@example.com", "username": "okay", "password": PASSWORD} | {field: value}
    answer = await accounts.http.post(REGISTER, json=body, headers=accounts.gateway)
    assert answer.status_code in {413, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    "raw", [b'{"email":"\\ud800@x.de","username":"abc","password":"12345678"}', b"{", b"[]", b"\xff\xfe", b'"text"', b""]
)
async def test_malformed_bodies_are_refused(accounts: Any, raw: bytes) -> None:
    headers = accounts.gateway | {"Content-Type": "application/json"}
    for path in (REGISTER, "/internal/auth/login", "/internal/auth/refresh", "/internal/api-keys/exchange"):
        answer = await accounts.http.post(path, content=raw, headers=headers)
        assert answer.status_code == 422, (path, answer.text)


async def test_login_opens_a_session_of_its_own(accounts: Any, events: Any) -> None:
    person = await accounts.register(email="Grace@example.com")
    answer = await accounts.login("  gRACE@EXAMPLE.com ")
    assert answer.status_code == 200
    assert answer.json()["access_token"] != person.access_token
    assert len(await events.of("accounts.session.started.v1", 2)) == 2


async def test_a_password_typed_in_another_unicode_form_is_the_same_one(accounts: Any) -> None:
    person = await accounts.register(password="Åse Ångström")
    assert (await accounts.login(person.email, "A\u030ase A\u030angstro\u0308m")).status_code == 200


async def test_wrong_password_and_unknown_email_get_the_same_answer(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    wrong = await accounts.login(person.email, "not the password")
    unknown = await accounts.login("nobody@example.com", "not the password")
    odd = await accounts.login("not an address \U0001f600", "x")
    for answer in (wrong, unknown, odd):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        shown = answer.json()
        assert {name: shown[name] for name in shown if name != "request_id"} == {
            "type": "urn:cuepost:problem:invalid_credentials",
            "title": "Unauthorized",
            "status": 401,
            "detail": "Email or password is wrong.",
            "code": "invalid_credentials",
        }
    failed = await events.of("accounts.login.failed.v1", 3)
    assert {event.data["user_id"] for event in failed} == {str(person.user_id), None}
    assert {event.clientip for event in failed} == {"192.0.2.1"}


async def test_an_unknown_email_costs_a_whole_hash(accounts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await accounts.register()
    verified: list[str] = []
    hasher = accounts.parts.passwords._hasher
    original = type(hasher).verify

    def noting(self: Any, hash: str, password: str) -> Any:  # noqa: A002 - argon2's own name
        verified.append(hash.rsplit("$", 2)[0])
        return original(self, hash, password)

    monkeypatch.setattr(type(hasher), "verify", noting)
    await accounts.login(person.email, "not the password")
    await accounts.login("nobody@example.com", "not the password")
    assert len(verified) == 2
    assert verified[0] == verified[1], "the same algorithm with the same parameters"


async def test_guessing_is_slowed_down_for_known_and_unknown_people_alike(start: Any) -> None:
    accounts = await start(login_free_failures=3)
    person = await accounts.register()
    for email in (person.email, "nobody@example.com"):
        answers = await asyncio.gather(*(accounts.login(email, "a wrong guess", ip=f"192.0.2.{n}") for n in range(12)))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(401) == 4, statuses
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "too_many_attempts"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await accounts.login(person.email, PASSWORD)).status_code == 429
    await accounts.execute("UPDATE login_throttles SET blocked_until = now()")
    assert (await accounts.login(person.email, PASSWORD)).status_code == 200
    assert (await accounts.login(person.email, "a wrong guess")).status_code == 401, "a success forgets the failures"


async def test_one_address_trying_many_people_is_slowed_down(start: Any) -> None:
    accounts = await start(login_free_failures_per_address=3)
    person = await accounts.register()
    statuses = [(await accounts.login(f"p{n}@example.com", "a wrong guess", ip="198.51.100.7")).status_code for n in range(6)]
    assert statuses == [401, 401, 401, 401, 429, 429]
    assert (await accounts.login(person.email, ip="198.51.100.8")).status_code == 200, "others are not concerned"


async def test_an_old_hash_is_made_anew_at_login(start: Any) -> None:
    weak = await start()
    person = await weak.register()
    strong = await start(argon2_memory_kib=2048)
    assert (await strong.login(person.email)).status_code == 200
    stored = await strong.scalar(f"SELECT password_hash FROM users WHERE id = '{person.user_id}'")
    assert "m=2048" in stored
    assert (await strong.login(person.email)).status_code == 200


async def refresh(accounts: Any, token: str) -> Any:
    return await accounts.http.post("/internal/auth/refresh", json={"refresh_token": token}, headers=accounts.gateway)


async def test_refresh_replaces_both_tokens_and_the_old_one_ends_the_session(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    first = await refresh(accounts, person.refresh_token)
    assert first.status_code == 200
    newest = first.json()
    assert newest["refresh_token"] != person.refresh_token
    again = await refresh(accounts, person.refresh_token)
    assert (again.status_code, again.json()["code"]) == (401, "refresh_token_reused")
    after = await refresh(accounts, newest["refresh_token"])
    assert (after.status_code, after.json()["code"]) == (401, "invalid_refresh_token")
    for token in (person.access_token, newest["access_token"]):
        me = await accounts.http.get("/internal/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert (me.status_code, me.json()["code"]) == (401, "token_revoked")
    revoked = (await events.of("accounts.session.revoked.v1"))[0]
    assert revoked.data["reason"] == "refresh_token_reused"
    assert revoked.userid == person.user_id


async def test_of_many_refreshes_at_once_one_succeeds(accounts: Any) -> None:
    person = await accounts.register()
    answers = await asyncio.gather(*(refresh(accounts, person.refresh_token) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9


async def test_expired_and_unknown_refresh_tokens_are_refused(accounts: Any) -> None:
    person = await accounts.register()
    assert (await refresh(accounts, "no such token")).json()["code"] == "invalid_refresh_token"
    assert (await refresh(accounts, "x" * 1_000_000)).status_code == 422
    await accounts.execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
    assert (await refresh(accounts, person.refresh_token)).json()["code"] == "invalid_refresh_token"


async def test_logout_ends_the_session_and_no_other(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    other = (await accounts.login(person.email)).json()
    answer = await accounts.http.post("/internal/auth/logout", headers=person.auth)
    assert (answer.status_code, answer.content) == (204, b"")
    me = await accounts.http.get("/internal/auth/me", headers=person.auth)
    assert (me.status_code, me.json()["code"]) == (401, "token_revoked")
    assert "www-authenticate" in me.headers
    assert (await refresh(accounts, person.refresh_token)).status_code == 401
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
        ({"sid": None}, "token_revoked"),
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
