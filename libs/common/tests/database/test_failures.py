"""What a real PostgreSQL's refusals are taken for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from common.database import Database
from common.database.database import async_url
from common.database.failures import is_database_away, is_database_busy

pytestmark = pytest.mark.integration
OpenUnder = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def visitor(postgres_url: str, empty_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[OpenUnder]:
    """Give a function from a rule for a database (`CONNECTION LIMIT 0`) to one opened by a role it binds."""
    role = f"visitor_{uuid4().hex[:8]}"
    url = make_url(await empty_database("refusals"))
    admin = create_async_engine(async_url(postgres_url), isolation_level="AUTOCOMMIT")
    opened: list[Database] = []

    async def execute(statement: str) -> None:
        async with admin.connect() as connection:
            await connection.execute(text(statement))

    async def open_under(rule: str) -> Database:
        await execute(f'ALTER DATABASE "{url.database}" {rule}')
        theirs = url.set(username=role, password="x").render_as_string(hide_password=False)
        opened.append(Database(theirs, application_name="visitor"))
        return opened[-1]

    await execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    yield open_under
    for database in opened:
        await database.stop()
    await execute(f"DROP ROLE {role}")
    await admin.dispose()


async def test_a_database_with_no_connection_left_is_away(visitor: OpenUnder) -> None:
    database = await visitor("CONNECTION LIMIT 0")
    with pytest.raises(DBAPIError, match="too many connections") as refusal:
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))
    assert is_database_away(refusal.value)
    assert not is_database_busy(refusal.value)


@pytest.mark.parametrize("code", ["53100", "53200", "25006"])
async def test_a_database_that_takes_no_more_for_now_is_away(visitor: OpenUnder, code: str) -> None:
    """Its disk is full, its memory is, or it became a standby: the same statement is right once that is mended."""
    database = await visitor("CONNECTION LIMIT -1")
    with pytest.raises(DBAPIError) as refusal:
        async with database.read() as connection:
            await connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$"))
    assert is_database_away(refusal.value)
    assert not is_database_busy(refusal.value)


async def test_a_standby_is_away(visitor: OpenUnder) -> None:
    database = await visitor("SET default_transaction_read_only = on")
    with pytest.raises(DBAPIError, match="read-only transaction") as refusal:
        async with database.transaction() as tx:
            await tx.connection.execute(text("CREATE TABLE t ()"))
    assert is_database_away(refusal.value)
