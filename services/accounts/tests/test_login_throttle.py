"""Slowing down of guesses, per person and per address."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from accounts.domain.throttle import ThrottleRule
from accounts.security.opaque import digest
from accounts.storage.throttles import count_refusal, take_attempt
from accounts.usecases.login import LoginAttempt
from common.errors import Transient

pytestmark = pytest.mark.integration
PASSWORD = "correct horse battery"
STRETCH = "UPDATE login_throttles SET blocked_until = blocked_until + interval '1 hour' WHERE blocked_until > last_failed_at"
"""Makes a wait that began last however busy the machine is; without one, it changes nothing."""


async def test_guessing_is_slowed_down_for_known_and_unknown_people_alike(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first wait is a second: a busy machine takes longer for twelve logins.
    monkeypatch.setattr(ThrottleRule, "wait_after", lambda rule, failures: timedelta(minutes=failures > rule.free))
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


async def test_one_address_trying_many_people_is_slowed_down(start: Any, events: Any) -> None:
    """Each guess is told of; refused attempts are counted, and told of once a minute for each person and all unknown ones."""
    accounts = await start(login_free_failures_per_address=3)
    person = await accounts.register()
    for number in range(4):
        assert (await accounts.login(f"p{number}@example.com", "a wrong guess", ip="198.51.100.7")).status_code == 401
    await accounts.execute(STRETCH)
    for number in (4, 5, 6):
        assert (await accounts.login(f"p{number}@example.com", "a wrong guess", ip="198.51.100.7")).status_code == 429
    await accounts.execute("UPDATE login_throttles SET blocked_until = blocked_until - interval '61 seconds'")
    for email in ("p7@example.com", person.email, person.email):
        assert (await accounts.login(email, ip="198.51.100.7")).status_code == 429
    told = [event.data for event in await events.of("accounts.login.failed.v1", 7)]
    refused = {"user_id": None, "reason": "too_many_attempts"}
    assert told == [
        *[{"user_id": None, "reason": "invalid_credentials", "times": 1}] * 4,
        refused | {"times": 1},
        refused | {"times": 3},
        refused | {"user_id": str(person.user_id), "times": 1},
    ]
    assert (await accounts.login(person.email, ip="198.51.100.8")).status_code == 200, "others are not concerned"


async def test_many_logins_at_once_with_the_right_password_are_no_failures(accounts: Any) -> None:
    person = await accounts.register()
    answers = await asyncio.gather(*(accounts.login(person.email) for _ in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    failed = "SELECT coalesce(sum(failures), 0) FROM login_throttles"
    assert await accounts.scalar(failed) == 0


async def test_many_people_who_log_in_at_once_at_one_address_are_no_failures(start: Any) -> None:
    """Behind the proxy of a company, say, when all their programs begin again."""
    accounts = await start(login_free_failures_per_address=3)
    people = [await accounts.register() for _ in range(8)]
    answers = await asyncio.gather(*(accounts.login(person.email, ip="198.51.100.13") for person in people))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert (await failures_of_address(accounts, "198.51.100.13"))[0] == 0


class Overtaken:
    """A connection after each of whose statements somebody else removes every row that it has not locked."""

    def __init__(self, connection: Any, other: Any) -> None:
        self._connection = connection
        self._other = other

    async def execute(self, statement: Any) -> Any:
        result = await self._connection.execute(statement)
        await self._other.execute(
            "DELETE FROM login_throttles WHERE subject_hash IN"
            " (SELECT subject_hash FROM login_throttles FOR UPDATE SKIP LOCKED)"
        )
        return result


async def test_a_row_that_is_forgotten_meanwhile_is_counted_in_anew(accounts: Any) -> None:
    """A login that succeeds beside this one removes the person's row."""
    rule, every = ThrottleRule(3), timedelta(minutes=1)
    other = await asyncpg.connect(accounts.parts.settings.database_url.get_secret_value())
    try:
        for counted in (1, 2):
            async with accounts.database.transaction() as tx:
                connection: Any = Overtaken(tx.connection, other)
                assert await take_attempt(connection, b"person", rule) is None
            assert await accounts.scalar("SELECT failures FROM login_throttles") == counted
        for times in (1, 0):
            async with accounts.database.transaction() as tx:
                connection = Overtaken(tx.connection, other)
                assert await count_refusal(connection, b"refused", told_every=every) == times
    finally:
        await other.close()


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


async def test_attempts_for_a_person_who_has_to_wait_block_nobody_at_their_address(start: Any) -> None:
    """A program at a company's address that tries again and again: nobody looks at its password, so nothing is guessed."""
    accounts = await start(login_free_failures=1, login_free_failures_per_address=4)
    ip = "198.51.100.14"
    person, colleague = await accounts.register(), await accounts.register()
    for _ in range(2):
        assert (await accounts.login(person.email, "a wrong guess", ip=ip)).status_code == 401
    theirs = f"subject_hash = '\\x{LoginAttempt.of(person.email, ip).person.hex()}'"
    await accounts.execute(f"UPDATE login_throttles SET blocked_until = now() + interval '1 hour' WHERE {theirs}")
    for _ in range(6):
        assert (await accounts.login(person.email, ip=ip)).status_code == 429
    assert (await failures_of_address(accounts, ip))[0] == 2, "those whose password was looked at"
    await accounts.execute(f"UPDATE login_throttles SET failures = 9, blocked_until = now() WHERE NOT {theirs}")
    assert (await accounts.login(person.email, ip=ip)).status_code == 429
    assert (await accounts.login(colleague.email, ip=ip)).status_code == 200, "a wait that is over does not begin anew"


async def test_addresses_of_one_ipv6_network_count_as_one(start: Any) -> None:
    accounts = await start(login_free_failures_per_address=3)
    for number in range(4):
        guess = await accounts.login(f"p{number}@example.com", "a wrong guess", ip=f"2001:db8:1:2::{number:x}")
        assert guess.status_code == 401
    await accounts.execute(STRETCH)
    assert (await accounts.login("p4@example.com", "a wrong guess", ip="2001:db8:1:2::4")).status_code == 429
    assert (await accounts.login("p9@example.com", "a wrong guess", ip="2001:db8:1:3::1")).status_code == 401


async def test_a_login_under_way_lifts_no_block_that_failures_began(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted ahead, a login that succeeds is taken back alone: the wait that the failures beside it cause goes on."""
    accounts = await start(login_free_failures_per_address=3)
    ip = "198.51.100.12"
    person = await accounts.register()
    looked_at, go_on = asyncio.Event(), asyncio.Event()
    verify = accounts.parts.passwords.verify

    async def held_up(stored: str | None, password: Any) -> Any:
        verdict = await verify(stored, password)
        if verdict.fits:
            looked_at.set()
            await go_on.wait()
        return verdict

    monkeypatch.setattr(accounts.parts.passwords, "verify", held_up)
    under_way = asyncio.create_task(accounts.login(person.email, ip=ip))
    await looked_at.wait()
    for number in range(3):
        assert (await accounts.login(f"p{number}@example.com", "a wrong guess", ip=ip)).status_code == 401
    await accounts.execute("UPDATE login_throttles SET blocked_until = now() - interval '1 second'")
    assert (await accounts.login("p3@example.com", "a wrong guess", ip=ip)).status_code == 401
    await accounts.execute(STRETCH)
    go_on.set()
    assert (await under_way).status_code == 200
    assert (await failures_of_address(accounts, ip))[0] == 4
    assert (await accounts.login("p4@example.com", "a wrong guess", ip=ip)).status_code == 429, "four failures, three free"


async def test_an_attempt_that_nobody_looked_at_lifts_no_block(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = await start(login_free_failures=3)
    person = await accounts.register()
    arrived, full = asyncio.Event(), asyncio.Event()
    verify = accounts.parts.passwords.verify

    async def no_place(stored: str | None, password: Any) -> Any:
        if password.get_secret_value() == "busy":
            arrived.set()
            await full.wait()
            raise Transient("too many passwords wait to be hashed")
        return await verify(stored, password)

    monkeypatch.setattr(accounts.parts.passwords, "verify", no_place)
    under_way = asyncio.create_task(accounts.login(person.email, "busy", ip="192.0.2.50"))
    await arrived.wait()
    for number in range(3):
        assert (await accounts.login(person.email, "a wrong guess", ip=f"192.0.2.{number}")).status_code == 401
    await accounts.execute("UPDATE login_throttles SET blocked_until = now() - interval '1 second'")
    assert (await accounts.login(person.email, "a wrong guess", ip="192.0.2.9")).status_code == 401
    await accounts.execute(STRETCH)
    full.set()
    assert (await under_way).status_code == 503
    assert (await accounts.login(person.email, "a wrong guess", ip="192.0.2.10")).status_code == 429
