"""Registration, login, refresh with rotation, logout."""

import asyncio
import time
from statistics import quantiles
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from accounts.security.opaque import digest
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
    ("field", "value", "code"),
    [
        ("email", "nonsense", "email_invalid"),
        ("email", "a@b@c", "email_invalid"),
        ("email", "x" * 300 + "@example.com", "email_too_long"),
        ("email", "x" * 200_000, "email_too_long"),
        ("email", "right\u202eleft@example.com", "email_invalid"),
        ("email", "zero\u200bwidth@example.com", "email_invalid"),
        ("email", 7, "email_invalid"),
        ("username", "ab", "username_too_short"),
        ("username", "  ab  ", "username_too_short"),
        ("username", "x" * 51, "username_too_long"),
        ("username", "\ufdfa" * 3, "username_too_long"),
        ("username", "x" * 200_000, "username_too_long"),
        ("username", "zero\u200bwidth", "username_invalid"),
        ("username", "right\u202eleft", "username_invalid"),
        ("username", "isolate\u2066d", "username_invalid"),
        ("username", "filler\u3164name", "username_invalid"),
        ("username", "variant\ufe0f", "username_invalid"),
        ("username", "line\nbreak", "username_invalid"),
        ("username", "...", "username_invalid"),
        ("username", None, "string_type"),
        ("username", {"a": 1}, "string_type"),
        ("password", "short", "password_too_short"),
        ("password", "e\u0301" * 7, "password_too_short"),
        ("password", "x" * 1025, "password_too_long"),
        ("password", "\ufdfa" * 100, "password_too_long"),
        ("password", "x" * 200_000, "password_too_long"),
        ("password", ["x"], "string_type"),
        ("password", 12345678, "string_type"),
        ("timezone", "Mars/Olympus", "timezone_unknown"),
        ("timezone", "../../etc/passwd", "timezone_unknown"),
        ("timezone", "localtime", "timezone_unknown"),
        ("timezone", "Factory", "timezone_unknown"),
        ("timezone", "europe/berlin", "timezone_unknown"),
        ("timezone", "", "timezone_unknown"),
        ("timezone", None, "string_type"),
        ("admin", True, "extra_forbidden"),
    ],
)
async def test_bad_input_is_refused_by_field_and_rule(accounts: Any, field: str, value: Any, code: str) -> None:
    body = {"email": "ok@example.com", "username": "okay", "password": PASSWORD} | {field: value}
    answer = await accounts.http.post(REGISTER, json=body, headers=accounts.gateway)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
    assert len(answer.content) < 2000
    assert await accounts.scalar("SELECT count(*) FROM users") == 0


async def test_a_password_of_a_megabyte_and_nul_bytes_are_refused(accounts: Any) -> None:
    good = {"email": "ok@example.com", "username": "okay", "password": PASSWORD}
    for field in good:
        for value, status, code in (("x" * 1_048_576, 413, "body_too_large"), ("nul\x00@example.com", 422, "invalid_request")):
            for path in (REGISTER, "/internal/auth/login"):
                answer = await accounts.http.post(path, json=good | {field: value}, headers=accounts.gateway)
                assert (answer.status_code, answer.json()["code"]) == (status, code), (path, field)


async def test_odd_logins_are_simply_wrong_or_refused(accounts: Any) -> None:
    for email, password, status in (
        ("right\u202eleft", "whatever", 401),
        ("x@example.com", "x" * 200_000, 422),
        ("x" * 200_000, "whatever", 422),
        (7, "whatever", 422),
        ("x@example.com", None, 422),
        ("x@example.com", ["whatever"], 422),
    ):
        answer = await accounts.http.post(
            "/internal/auth/login", json={"email": email, "password": password}, headers=accounts.gateway
        )
        assert answer.status_code == status, (email, status)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_names_are_normalised_before_they_are_judged(accounts: Any) -> None:
    for number, (given, kept) in enumerate(
        [("\uff21\uff44\uff41", "Ada"), ("e\u0301lo\u0300", "\u00e9l\u00f2"), ("\u00a0Ada\u00a0Lovelace ", "Ada Lovelace")]
    ):
        body = {"email": f"p{number}@example.com", "username": given, "password": PASSWORD}
        tokens = (await accounts.http.post(REGISTER, json=body, headers=accounts.gateway)).json()
        auth = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await accounts.http.get("/internal/auth/me", headers=auth)).json()["username"] == kept


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


async def test_wrong_password_and_unknown_email_take_the_same_time(start: Any) -> None:
    """The quicker tries of two interleaved series differ by less than half a hash; without the dummy it would be a whole one.

    Processor time and lower quartiles, because a busy machine only ever makes a try slower.
    """
    accounts = await start(
        argon2_time_cost=3, argon2_memory_kib=16_384, login_free_failures=1000, login_free_failures_per_address=1000
    )
    person = await accounts.register()
    taken: dict[str, list[float]] = {person.email: [], "nobody@example.com": []}
    for _ in range(15):
        for email, times in taken.items():
            began = time.process_time()
            assert (await accounts.login(email, "not the password")).status_code == 401
            times.append(time.process_time() - began)
    hashing = []
    for _ in range(5):
        began = time.process_time()
        await accounts.parts.passwords.hash(SecretStr("something"))
        hashing.append(time.process_time() - began)
    known, unknown = (quantiles(times, n=4)[0] for times in taken.values())
    assert abs(known - unknown) < min(hashing) / 2, (known, unknown, hashing)


STRETCH = "UPDATE login_throttles SET blocked_until = blocked_until + interval '1 hour' WHERE blocked_until > last_failed_at"
"""Makes a wait that began last however busy the machine is; without one, it changes nothing."""


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
    await accounts.execute(STRETCH)
    assert (await accounts.login(person.email, PASSWORD)).status_code == 429
    await accounts.execute("UPDATE login_throttles SET blocked_until = now()")
    assert (await accounts.login(person.email, PASSWORD)).status_code == 200
    assert (await accounts.login(person.email, "a wrong guess")).status_code == 401, "a success forgets the failures"


async def test_one_address_trying_many_people_is_slowed_down(start: Any) -> None:
    accounts = await start(login_free_failures_per_address=3)
    person = await accounts.register()
    for number in range(4):
        assert (await accounts.login(f"p{number}@example.com", "a wrong guess", ip="198.51.100.7")).status_code == 401
    await accounts.execute(STRETCH)
    assert (await accounts.login("p4@example.com", "a wrong guess", ip="198.51.100.7")).status_code == 429
    assert (await accounts.login(person.email, ip="198.51.100.8")).status_code == 200, "others are not concerned"


async def failures_of_address(accounts: Any, ip: str) -> tuple[int, float]:
    """Return how many failures are remembered for a client's address, and the seconds since when they fade."""
    row = f"FROM login_throttles WHERE subject_hash = '\\x{digest(f'address:{ip}').hex()}'"
    age = await accounts.scalar(f"SELECT extract(epoch FROM now() - last_failed_at)::float {row}")
    return await accounts.scalar(f"SELECT failures {row}"), age


async def test_failures_of_a_busy_address_fade_although_others_log_in_there(accounts: Any) -> None:
    ip = "198.51.100.9"
    person = await accounts.register()
    await accounts.login("nobody@example.com", "a wrong guess", ip=ip)
    await accounts.execute("UPDATE login_throttles SET failures = 21, last_failed_at = now() - interval '570 seconds'")
    for _ in range(2):
        assert (await accounts.login(person.email, ip=ip)).status_code == 200
        failures, age = await failures_of_address(accounts, ip)
        assert failures == 12, "one is forgotten each minute, and a success is no failure"
        assert 30 <= age < 55, "a success does not begin the minute anew"
    assert (await accounts.login(person.email, "a typo", ip=ip)).status_code == 401
    assert (await accounts.login(person.email, ip=ip)).status_code == 200, "a typo blocks nobody there"


async def test_failures_of_a_quarter_of_an_hour_ago_are_forgotten(accounts: Any) -> None:
    ip = "198.51.100.10"
    await accounts.login("nobody@example.com", "a wrong guess", ip=ip)
    await accounts.execute("UPDATE login_throttles SET failures = 1000, last_failed_at = now() - interval '901 seconds'")
    await accounts.login("nobody@example.com", "a wrong guess", ip=ip)
    failures, age = await failures_of_address(accounts, ip)
    assert failures == 1
    assert age < 60, "counted from now on"


async def test_a_success_gives_the_address_its_attempt_back_and_no_more(start: Any) -> None:
    accounts = await start(login_free_failures_per_address=3)
    ip = "198.51.100.11"
    person = await accounts.register()
    for n in range(2):
        await accounts.login(f"p{n}@example.com", "a wrong guess", ip=ip)
    statuses = [(await accounts.login(person.email, ip=ip)).status_code for _ in range(5)]
    assert statuses == [200] * 5
    assert (await failures_of_address(accounts, ip))[0] == 2


async def test_addresses_of_one_ipv6_network_count_as_one(start: Any) -> None:
    accounts = await start(login_free_failures_per_address=3)
    for number in range(4):
        guess = await accounts.login(f"p{number}@example.com", "a wrong guess", ip=f"2001:db8:1:2::{number:x}")
        assert guess.status_code == 401
    await accounts.execute(STRETCH)
    assert (await accounts.login("p4@example.com", "a wrong guess", ip="2001:db8:1:2::4")).status_code == 429
    assert (await accounts.login("p9@example.com", "a wrong guess", ip="2001:db8:1:3::1")).status_code == 401


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
    await accounts.execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
    assert (await refresh(accounts, person.refresh_token)).json()["code"] == "invalid_refresh_token"


async def test_logout_ends_the_session_and_no_other(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    other = (await accounts.login(person.email)).json()
    answer = await accounts.http.post("/internal/auth/logout", headers=person.auth)
    assert (answer.status_code, answer.content) == (204, b"")
    me = await accounts.http.get("/internal/auth/me", headers=person.auth)
    assert (me.status_code, me.json()["code"]) == (401, "session_revoked")
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
        ({"sid": None}, "session_revoked"),
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
