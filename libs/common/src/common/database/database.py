"""One service's database: a pool, read-only connections and transactions that tell when they have committed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import orjson
from asyncpg.exceptions import InterfaceError, InternalClientError, InvalidTransactionStateError, PostgresError
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

STATEMENT_TIMEOUT_MS = 10_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 8_000
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 15.0

Driver: TypeAlias = Any
"""An `asyncpg.Connection` (which has no types); statements run on it directly, with `$1` parameters."""


class Transaction:
    """An open transaction, handed into a use case by the edge that commits it.

    `connection` is SQLAlchemy's; `driver` is the same connection as asyncpg itself sees it, for the few statements that run so
    often that SQLAlchemy's 60 to 200 µs each would count. Both run in this transaction. `after_commit` callbacks run once, in
    order, only when the commit succeeded; they must not block or raise (they wake loops and relays).
    """

    def __init__(self, connection: AsyncConnection, driver: Driver) -> None:
        self.connection = connection
        self.driver = driver
        self._after_commit: dict[Callable[[], None], None] = {}

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the commit; the same callback is kept once."""
        self._after_commit[callback] = None

    def committed(self) -> None:
        """Run the callbacks; called by `Database` alone."""
        for callback in self._after_commit:
            callback()


class Database:
    """A pool of connections to one service's PostgreSQL database.

    Every session carries timeouts, so that no statement, lock wait or forgotten transaction holds rows for long.
    """

    def __init__(
        self,
        url: SecretStr | str,
        *,
        application_name: str,
        pool_size: int = 10,
        statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
        plans_for_values: bool = False,
    ) -> None:
        """Prepare a pool of at most `pool_size` connections, which are made on first use.

        With `plans_for_values`, a statement is planned anew for its values each time. Otherwise PostgreSQL keeps a plan for any
        values once it was run five times (https://www.postgresql.org/docs/18/sql-prepare.html): right for the short statements of
        most services, far off for sums over a period whose length it then has to guess.
        """
        self._engine = create_async_engine(
            async_url(url),
            # Transactions are begun and ended by ourselves: SQLAlchemy's way costs 100 µs more each.
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            pool_recycle=1800,
            hide_parameters=True,
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                # The server's statement timeout does not help when the server went silent.
                "command_timeout": COMMAND_TIMEOUT_S,
                "server_settings": {
                    "application_name": application_name,
                    "statement_timeout": str(statement_timeout_ms),
                    "lock_timeout": str(LOCK_TIMEOUT_MS),
                    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
                    "timezone": "UTC",
                    "jit": "off",
                    "plan_cache_mode": "force_custom_plan" if plans_for_values else "auto",
                },
            },
        )

    @property
    def engine(self) -> AsyncEngine:
        """The engine, for tests and migrations."""
        return self._engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction; commits when the block ends, rolls back when it raises (also on cancellation)."""
        async with self._engine.connect() as connection:
            transaction = Transaction(connection, await _driver_of(connection))
            async with _begun(transaction.driver):
                yield transaction
            transaction.committed()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Hand out a connection for single reads; each statement is its own snapshot, nothing is left open."""
        async with self._engine.connect() as connection:
            await _driver_of(connection)
            yield connection

    @asynccontextmanager
    async def read_fast(self) -> AsyncIterator[Driver]:
        """Hand out asyncpg's own connection for single reads that run very often."""
        async with self._engine.connect() as connection:
            yield await _driver_of(connection)

    async def ping(self) -> None:
        """Raise unless the database answers a query."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def start(self) -> None:
        """Do nothing: connections are made on first use, and readiness tells when they cannot be."""

    async def stop(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


async def _driver_of(connection: AsyncConnection) -> Driver:
    """Return asyncpg's connection; one that was closed while it lay in the pool is replaced by a new one."""
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is not None and driver.is_closed():
        await connection.invalidate()
        driver = (await connection.get_raw_connection()).driver_connection
    return driver


@asynccontextmanager
async def _begun(driver: Driver) -> AsyncIterator[None]:
    await driver.execute("BEGIN")
    try:
        yield
    except BaseException:
        await _roll_back(driver)
        raise
    # In a transaction that a swallowed error has spoilt, PostgreSQL answers COMMIT by rolling back, and calls it no error.
    if await driver.execute("COMMIT") != "COMMIT":
        raise InvalidTransactionStateError("a statement had failed: the transaction was rolled back")


async def _roll_back(driver: Driver) -> None:
    """Roll back; a connection on which that fails is cut, so that nobody gets it with the transaction still open."""
    if driver.is_closed():
        return
    try:
        await driver.execute("ROLLBACK")
    except BaseException as error:
        driver.terminate()
        if not isinstance(error, PostgresError | InterfaceError | InternalClientError | OSError):
            raise


def async_url(url: SecretStr | str) -> Any:
    """Return the SQLAlchemy URL with the asyncpg driver for a `postgresql://` address."""
    plain = url.get_secret_value() if isinstance(url, SecretStr) else url
    return make_url(plain).set(drivername="postgresql+asyncpg")
