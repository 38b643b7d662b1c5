"""What a failure of the database means: it is away, it is busy, or the statement is wrong."""

import asyncio

from asyncpg.exceptions import (
    AdminShutdownError,
    CannotConnectNowError,
    ConnectionDoesNotExistError,
    CrashShutdownError,
    DeadlockDetectedError,
    DiskFullError,
    IdleInTransactionSessionTimeoutError,
    InterfaceError,
    InternalClientError,
    LockNotAvailableError,
    OutOfMemoryError,
    PostgresConnectionError,
    QueryCanceledError,
    ReadOnlySQLTransactionError,
    SerializationError,
    TooManyConnectionsError,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_AWAY = (
    AdminShutdownError,
    CannotConnectNowError,
    ConnectionDoesNotExistError,
    CrashShutdownError,
    # Nothing can be written until somebody makes room.
    DiskFullError,
    IdleInTransactionSessionTimeoutError,
    InterfaceError,
    # What asyncpg says on a connection that the server has ended, before it has noticed the end.
    InternalClientError,
    OutOfMemoryError,
    PostgresConnectionError,
    # A standby, or a server that its provider has closed for writing, where the one that takes writes was.
    ReadOnlySQLTransactionError,
    TooManyConnectionsError,
)
_BUSY = (DeadlockDetectedError, LockNotAvailableError, QueryCanceledError, SerializationError)


def is_database_away(error: BaseException) -> bool:
    """Tell whether `error` comes from a database that is away, so that trying the same again soon is right.

    Such a failure says nothing of what was asked: a message loses no attempt by it, a client is told to come again.
    """
    if isinstance(error, PoolTimeoutError | OSError | asyncio.TimeoutError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(_cause(error), _AWAY)


def is_pool_exhausted(error: BaseException) -> bool:
    """Tell whether all connections of the pool were in use for too long: there is more to do at once than it has connections."""
    return isinstance(error, PoolTimeoutError)


def is_database_busy(error: BaseException) -> bool:
    """Tell whether the database refused because of what others do at this moment (locks, deadlock, statement timeout).

    Worth a few tries in place, but not for ever: a statement that is always too slow is a fault of ours.
    """
    return isinstance(_cause(error), _BUSY)


def _cause(error: BaseException) -> BaseException | None:
    """Return asyncpg's own error behind SQLAlchemy's."""
    if isinstance(error, DBAPIError):
        return error.orig.__cause__ if error.orig is not None else None
    return error
