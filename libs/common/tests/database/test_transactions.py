"""Transactions of our own beginning and ending, on a real PostgreSQL: commit, rollback, cancellation, lost connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from asyncpg.exceptions import InvalidTransactionStateError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common.database import Database, Transaction
from common.database.failures import is_database_away

pytestmark = pytest.mark.integration
INSERT = "INSERT INTO notes VALUES ('x')"


@pytest.fixture
async def database(empty_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    """Make a database with a table and one connection, so that each block gets what the last one left."""
    opened = Database(await empty_database("transactions"), application_name="t", pool_size=1)
    async with opened.transaction() as tx:
        await tx.connection.execute(text("CREATE TABLE notes (note text UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    yield opened
    await opened.stop()


async def notes(database: Database) -> int:
    async with database.read_fast() as driver:
        count: int = await driver.fetchval("SELECT count(*) FROM notes")
        return count


async def test_both_ways_of_speaking_are_one_transaction(database: Database) -> None:
    told: list[str] = []
    async with database.transaction() as tx:
        tx.after_commit(lambda: told.append("committed"))
        await tx.driver.execute(INSERT)
        assert await tx.connection.scalar(text("SELECT count(*) FROM notes")) == 1
        assert told == []
    assert told == ["committed"]
    assert await notes(database) == 1


@pytest.mark.parametrize("failure", [ValueError(), asyncio.CancelledError(), GeneratorExit()])
async def test_whatever_is_raised_rolls_back(database: Database, failure: BaseException) -> None:
    told: list[str] = []

    async def fail() -> None:
        async with database.transaction() as tx:
            tx.after_commit(lambda: told.append("committed"))
            await tx.driver.execute(INSERT)
            raise failure

    with pytest.raises(type(failure)):
        await fail()
    assert (await notes(database), told) == (0, [])


async def test_an_error_at_commit_is_an_error(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.driver.execute(INSERT)

    async def twice() -> None:
        async with database.transaction() as tx:
            await tx.driver.execute(INSERT)

    with pytest.raises(asyncpg.UniqueViolationError):
        await twice()
    assert await notes(database) == 1


async def test_a_swallowed_error_is_no_commit(database: Database) -> None:
    """PostgreSQL answers COMMIT of a spoilt transaction by rolling back, without an error."""
    told: list[str] = []

    async def swallow() -> None:
        async with database.transaction() as tx:
            tx.after_commit(lambda: told.append("committed"))
            await tx.driver.execute(INSERT)
            with pytest.raises(DBAPIError):
                await tx.connection.execute(text("SELECT 1 / 0"))

    with pytest.raises(InvalidTransactionStateError):
        await swallow()
    assert (await notes(database), told) == (0, [])


async def test_cancelled_within_a_statement_the_next_one_finds_a_clean_connection(database: Database) -> None:
    entered = asyncio.Event()

    async def sleep(tx: Transaction, *, by_driver: bool) -> None:
        await tx.driver.execute(INSERT)
        entered.set()
        if by_driver:
            await tx.driver.execute("SELECT pg_sleep(60)")
        else:
            await tx.connection.execute(text("SELECT pg_sleep(60)"))

    async def work(*, by_driver: bool) -> None:
        async with database.transaction() as tx:
            await sleep(tx, by_driver=by_driver)

    for by_driver in (True, False):
        entered.clear()
        task = asyncio.create_task(work(by_driver=by_driver))
        await entered.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await notes(database) == 0


async def test_a_connection_that_dies_costs_one_transaction_and_is_replaced(database: Database, postgres_url: str) -> None:
    async def die() -> None:
        async with database.transaction() as tx:
            await tx.driver.execute(INSERT)
            await kill(postgres_url, await tx.driver.fetchval("SELECT pg_backend_pid()"))
            await tx.driver.execute(INSERT)

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)) as failure:
        await die()
    assert is_database_away(failure.value)
    assert await notes(database) == 0
    async with database.read_fast() as driver:
        idle, gone = await driver.fetchval("SELECT pg_backend_pid()"), asyncio.Event()
        driver.add_termination_listener(lambda _: gone.set())
    await kill(postgres_url, idle)
    await asyncio.wait_for(gone.wait(), 60)
    # It died while it lay in the pool: nobody notices.
    assert await notes(database) == 0
    async with database.transaction() as tx:
        await tx.driver.execute(INSERT)
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM notes")) == 1


@pytest.mark.parametrize(("failure", "seen"), [(asyncio.CancelledError(), asyncio.CancelledError), (OSError(), ValueError)])
async def test_a_rollback_that_fails_itself_leaves_no_open_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch, failure: BaseException, seen: type[BaseException]
) -> None:
    execute = asyncpg.Connection.execute

    async def fail_to_roll_back(self: asyncpg.Connection, query: str) -> str:
        if query == "ROLLBACK":
            raise failure
        done: str = await execute(self, query)
        return done

    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.driver.execute(INSERT)
            raise ValueError

    monkeypatch.setattr(asyncpg.Connection, "execute", fail_to_roll_back)
    with pytest.raises(seen):
        await fail()
    assert await notes(database) == 0


async def kill(server: str, backend: int) -> None:
    admin = await asyncpg.connect(server)
    try:
        await admin.execute("SELECT pg_terminate_backend($1)", backend)
    finally:
        await admin.close()


@pytest.mark.parametrize(("plans_for_values", "kept"), [(False, True), (True, False)])
async def test_a_plan_for_any_values_is_kept_only_where_it_may_be(
    empty_database: Callable[[str], Awaitable[str]], plans_for_values: bool, kept: bool
) -> None:
    opened = Database(await empty_database("plans"), application_name="t", pool_size=1, plans_for_values=plans_for_values)
    try:
        async with opened.read_fast() as driver:
            for number in range(10):
                await driver.fetchval("SELECT $1::int AS asked", number)
            plans = "SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements WHERE statement LIKE '%AS asked'"
            generic, custom = await driver.fetchrow(plans)
        assert (generic > 0, generic + custom) == (kept, 10)
    finally:
        await opened.stop()
