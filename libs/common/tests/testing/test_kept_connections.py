"""A connection that is kept is as a new one for whoever gets it, and is not kept when it might not be."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from common.database.database import async_url
from common.testing.eventually import eventually
from common.testing.kept_connections import KeptConnections

pytestmark = pytest.mark.integration
PID = "SELECT pg_backend_pid()"


async def value(engine: AsyncEngine, statement: str) -> Any:
    async with engine.connect() as connection:
        return await connection.scalar(text(statement))


async def test_connections_outlive_engines_and_bring_nothing_along(
    empty_database: Callable[[str], Awaitable[str]],
) -> None:
    kept, url = KeptConnections(), await empty_database("kept")

    def engine(name: str = "one") -> AsyncEngine:
        given = {"server_settings": {"application_name": name}, "async_creator_fn": kept.connect}
        return create_async_engine(async_url(url), isolation_level="AUTOCOMMIT", pool_size=2, connect_args=given)

    async def backend(name: str = "one", *statements: str) -> Any:
        """Return the process at the other end of a new engine's connection, on which the statements were run."""
        made = engine(name)
        for statement in (*statements, PID):
            found = await value(made, statement)
        await made.dispose()
        return found

    ended = await backend()
    await eventually(lambda: gone(url, ended))
    kept.keep_those_to(url)
    first = await backend("one", "SELECT pg_advisory_lock(7)", "SELECT set_config('work_mem', '1MB', false)")
    assert await backend("two") != first, "what it was opened with is another's"
    again = engine()
    assert await value(again, PID) == first
    assert await value(again, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert await value(again, "SHOW work_mem") != "1MB"
    async with again.connect() as one, again.connect() as other:
        assert await one.scalar(text(PID)) != await other.scalar(text(PID))
    await again.dispose()


async def test_what_is_broken_or_busy_is_not_kept(empty_database: Callable[[str], Awaitable[str]]) -> None:
    kept, url = KeptConnections(), await empty_database("kept")
    kept.keep_those_to(url)
    place = async_url(url)
    options: dict[str, Any] = {"host": place.host, "port": place.port, "database": place.database}
    options |= {"user": place.username, "password": place.password, "server_settings": {}}

    async def open_one() -> tuple[Any, int]:
        connection = await kept.connect(**options)
        return connection, await connection.fetchval(PID)

    connection, pid = await open_one()
    await connection.close()
    assert connection.is_closed()
    with pytest.raises(asyncpg.InterfaceError, match="closed"):
        await connection.fetchval(PID)
    again, same = await open_one()
    assert same == pid
    # In a transaction; found wrong by its owner, who gives a timeout; cut.
    await again.execute("BEGIN")
    await again.close()
    wrong, other = await open_one()
    assert other != pid
    await wrong.close(timeout=5)
    cut, third = await open_one()
    cut.terminate()
    await cut.close()
    assert len({pid, other, third}) == 3
    # Its server's process ends while nobody has it.
    idle, fourth = await open_one()
    await idle.close()
    killer = await asyncpg.connect(url)
    await killer.execute("SELECT pg_terminate_backend($1)", fourth)
    await killer.close()
    last, fifth = await open_one()
    assert fifth != fourth
    # Somebody else's loop never gets it.
    await last.close()
    assert await asyncio.to_thread(lambda: asyncio.run(pid_elsewhere(kept, options))) != fifth
    kept.forget_all()
    await eventually(lambda: gone(url, fifth))


async def pid_elsewhere(kept: KeptConnections, options: dict[str, Any]) -> int:
    connection = await kept.connect(**options)
    try:
        found: int = await connection.fetchval(PID)
        return found
    finally:
        await connection.close()


async def gone(url: str, pid: int) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid) == 0
    finally:
        await connection.close()
