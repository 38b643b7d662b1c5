"""Hashing in threads: the event loop goes on, memory is bounded, too many are asked to come back."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from accounts.security.passwords import Argon2Cost, Passwords
from common.errors import Transient
from common.testing.eventually import eventually

SECRET = SecretStr("correct horse battery")


class Gate:
    """Holds hashes in their threads until it is opened, and counts how many are in there at once."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.opened.wait(20)
        with self._lock:
            self.inside -= 1


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    original = Passwords._verify

    def held(self: Passwords, stored: str, password: SecretStr) -> Any:
        gate()
        return original(self, stored, password)

    monkeypatch.setattr(Passwords, "_verify", held)
    yield gate
    gate.opened.set()


async def test_few_hash_at_once_and_few_wait(gate: Gate) -> None:
    passwords = Passwords(Argon2Cost(1, 64), threads=2, waiting=5)
    tries = [asyncio.create_task(passwords.verify(None, SECRET)) for _ in range(20)]
    await eventually(lambda: gate.inside == 2)
    refused = [task for task in tries if task.done()]
    assert len(refused) == 13
    for task in refused:
        with pytest.raises(Transient) as caught:
            await task
        assert caught.value.retry_after
    gate.opened.set()
    assert [(await task).fits for task in tries if task not in refused] == [False] * 7
    assert gate.most == 2
    assert not (await passwords.verify(None, SECRET)).fits, "places are given back"
    await passwords.stop()


async def test_a_place_is_given_back_by_who_went_away(gate: Gate) -> None:
    passwords = Passwords(Argon2Cost(1, 64), threads=1, waiting=0)
    impatient = asyncio.create_task(passwords.verify(None, SECRET))
    await eventually(lambda: gate.inside == 1)
    impatient.cancel()
    await asyncio.wait([impatient])
    with pytest.raises(Transient):
        await passwords.verify(None, SECRET)
    gate.opened.set()

    async def again() -> bool:
        try:
            return not (await passwords.verify(None, SECRET)).fits
        except Transient:
            return False

    assert await eventually(again)
    await passwords.stop()


@pytest.mark.integration
async def test_requests_are_answered_while_passwords_are_hashed(start: Any, gate: Gate) -> None:
    accounts = await start(login_free_failures=1000, login_free_failures_per_address=1000)
    person = await accounts.register()
    logins = [asyncio.create_task(accounts.login(f"p{number}@example.com", "a wrong guess")) for number in range(80)]
    await eventually(lambda: gate.inside == 2)
    me = await asyncio.wait_for(accounts.http.get("/internal/auth/me", headers=person.auth), 60)
    assert me.status_code == 200
    # Only who found no place is answered before the gate opens.
    await eventually(lambda: any(login.done() for login in logins))
    gate.opened.set()
    answers = await asyncio.gather(*logins)
    assert {answer.status_code for answer in answers} == {401, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert gate.most == 2
    judged = sum(answer.status_code == 401 for answer in answers)
    assert await accounts.scalar("SELECT max(failures) FROM login_throttles") == judged, "of the address"
    assert await accounts.scalar("SELECT count(*) FROM login_throttles WHERE failures = 1") == judged, "of the people"


@pytest.mark.integration
async def test_a_login_does_not_fail_for_want_of_a_stronger_hash(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weak = await start()
    person = await weak.register()
    strong = await start(argon2_memory_kib=2048)

    async def busy(*_: Any) -> str:
        raise Transient("too many passwords wait to be hashed")

    with monkeypatch.context() as patched:
        patched.setattr(Passwords, "hash", busy)
        assert (await strong.login(person.email)).status_code == 200
    assert "m=1024" in await strong.scalar("SELECT password_hash FROM users")
    assert (await strong.login(person.email)).status_code == 200
    assert "m=2048" in await strong.scalar("SELECT password_hash FROM users")


async def _seconds(passwords: Passwords, stored: str | None) -> float:
    """Return the processor's time for one wrong password, the least of several tries: free of what else the machine does."""
    found = []
    for _ in range(4):
        began = time.process_time()
        assert not (await passwords.verify(stored, SecretStr("a wrong guess"))).fits
        found.append(time.process_time() - began)
    return min(found)


@pytest.mark.parametrize("before", [Argon2Cost(1, 4096), Argon2Cost(2, 16_384), Argon2Cost(3, 32_768)])
async def test_a_wrong_password_takes_as_long_for_a_hash_of_lower_cost(before: Argon2Cost) -> None:
    old, now = Passwords(before), Passwords(Argon2Cost(3, 32_768))
    try:
        stored = await old.hash(SECRET)
        known, unknown = await _seconds(now, stored), await _seconds(now, None)
        assert 0.6 < known / unknown < 1.6
        assert (await now.verify(stored, SECRET)).fits
    finally:
        await old.stop()
        await now.stop()


@pytest.mark.parametrize(
    ("before", "now", "missing"),
    [
        (Argon2Cost(1, 4096), Argon2Cost(3, 32_768), (3, 31_402)),
        (Argon2Cost(2, 19_456), Argon2Cost(2, 19_456), None),
        (Argon2Cost(2, 10_000), Argon2Cost(2, 19_456), (1, 18_912)),
        (Argon2Cost(4, 19_456), Argon2Cost(2, 19_456), None),
        (Argon2Cost(2, 19_456), Argon2Cost(2, 19_457), None),
    ],
)
def test_what_is_missing_is_made_up_for(before: Argon2Cost, now: Argon2Cost, missing: tuple[int, int] | None) -> None:
    found = now.beyond(before)
    assert (found and (found.time, found.memory_kib)) == missing
    assert found is None or found.memory_kib <= now.memory_kib, "no check may take more memory than one of today"
