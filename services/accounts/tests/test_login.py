"""Logging in: the same answer, and the same time, whoever is asked for."""

import time
from statistics import quantiles
from typing import Any

import pytest
from pydantic import SecretStr

pytestmark = pytest.mark.integration


async def test_login_opens_a_session_of_its_own(accounts: Any, events: Any) -> None:
    person = await accounts.register(email="Grace@example.com")
    answer = await accounts.login("  gRACE@EXAMPLE.com ")
    assert answer.status_code == 200
    assert answer.json()["access_token"] != person.access_token
    assert len(await events.of("accounts.session.started.v1", 2)) == 2


async def test_a_password_typed_in_another_unicode_form_is_the_same_one(accounts: Any) -> None:
    person = await accounts.register(password="Åse Ångström")
    assert (await accounts.login(person.email, "A\u030ase A\u030angstro\u0308m")).status_code == 200


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


async def test_an_old_hash_is_made_anew_at_login(start: Any) -> None:
    weak = await start()
    person = await weak.register()
    strong = await start(argon2_memory_kib=2048)
    assert (await strong.login(person.email)).status_code == 200
    stored = await strong.scalar(f"SELECT password_hash FROM users WHERE id = '{person.user_id}'")
    assert stored.startswith("$argon2id$")
    assert "m=2048" in stored
    assert (await strong.login(person.email)).status_code == 200
