"""What a failure while handling a message means for the message."""

import asyncio

from asyncpg.exceptions import (
    AdminShutdownError,
    CannotConnectNowError,
    ConnectionDoesNotExistError,
    CrashShutdownError,
    DeadlockDetectedError,
    IdleInTransactionSessionTimeoutError,
    InterfaceError,
    LockNotAvailableError,
    PostgresConnectionError,
    QueryCanceledError,
    SerializationError,
    TooManyConnectionsError,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_PASSING_DATABASE_ERRORS = (
    AdminShutdownError,
    CannotConnectNowError,
    ConnectionDoesNotExistError,
    CrashShutdownError,
    DeadlockDetectedError,
    IdleInTransactionSessionTimeoutError,
    InterfaceError,
    LockNotAvailableError,
    PostgresConnectionError,
    QueryCanceledError,
    SerializationError,
    TooManyConnectionsError,
)


def is_database_away(error: BaseException) -> bool:
    """Tell whether `error` comes from a database that is away or busy, so that trying the same again soon is right.

    Such a failure says nothing of the message, so it costs the message no attempt.
    """
    if isinstance(error, PoolTimeoutError | OSError | asyncio.TimeoutError):
        return True
    if isinstance(error, DBAPIError):
        cause = error.orig.__cause__ if error.orig is not None else None
        return error.connection_invalidated or isinstance(cause, _PASSING_DATABASE_ERRORS)
    return isinstance(error, _PASSING_DATABASE_ERRORS)
