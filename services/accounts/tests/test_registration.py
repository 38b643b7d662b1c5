"""Registration: what is taken, what is refused, and what names become."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

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
