"""Turns at the database: whoever has many jobs waiting does not keep another user's from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.ids import uuid7
from publisher.runner.database_turns import DatabaseTurns

ANN, BOB, EVE = uuid7(), uuid7(), uuid7()


class Asked:
    """A database that tells who has it; each stays until it is let go."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.order: list[str] = []
        self.go = asyncio.Event()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[str]:
        yield "transaction"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[str]:
        yield "connection"

    async def job(self, turns: DatabaseTurns, name: str, user: Any) -> None:
        async with turns.turn(user):
            self.held.append(name)
            self.order.append(name)
            await self.go.wait()
            self.held.remove(name)


def begin(asked: Asked, turns: DatabaseTurns, *jobs: tuple[str, Any]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(asked.job(turns, name, user)) for name, user in jobs]


async def test_users_take_turns_and_one_users_jobs_keep_their_order() -> None:
    asked = Asked()
    turns = DatabaseTurns(asked, 2)  # type: ignore[arg-type]
    crowd = [(f"a{number}", ANN) for number in range(6)]
    tasks = begin(asked, turns, *crowd, ("b0", BOB), ("b1", BOB), ("e0", EVE))
    await asyncio.sleep(0)
    assert asked.held == ["a0", "a1"]
    asked.go.set()
    await asyncio.gather(*tasks)
    assert asked.order == ["a0", "a1", "a2", "b0", "e0", "a3", "b1", "a4", "a5"]
    tasks = begin(asked, turns, ("a6", ANN), ("a7", ANN), ("b2", BOB))
    await asyncio.gather(*tasks)


async def test_who_is_broken_off_while_it_waits_takes_no_turn_with_it() -> None:
    asked = Asked()
    turns = DatabaseTurns(asked, 1)  # type: ignore[arg-type]
    first, waits, given, last = begin(asked, turns, ("a0", ANN), ("a1", ANN), ("b0", BOB), ("e0", EVE))
    await asyncio.sleep(0)
    waits.cancel()
    await asyncio.sleep(0)
    asked.go.set()
    # The turn is handed to Bob's job, and in this very moment it is broken off.
    await asyncio.sleep(0)
    assert first.done()
    given.cancel()
    ended = await asyncio.gather(first, waits, given, last, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ended] == [False, True, True, False]
    assert asked.order == ["a0", "e0"]
    async with turns.turn(ANN):
        pass


@pytest.mark.parametrize("at_once", [-1, 0, 1])
async def test_a_job_has_the_database_in_its_turn_however_few_there_are(at_once: int) -> None:
    turns = DatabaseTurns(Asked(), at_once)  # type: ignore[arg-type]
    database = turns.of(ANN)
    for _ in range(2):
        async with database.transaction() as tx:
            assert tx == "transaction"  # type: ignore[comparison-overlap]
        async with database.read() as connection:
            assert connection == "connection"  # type: ignore[comparison-overlap]
