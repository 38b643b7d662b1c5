"""Waiting for a database that is away: the same is tried again in place, and the broker's queue is the buffer."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from tenacity import AsyncRetrying, RetryCallState, wait_exponential_jitter

from common.database.failures import is_database_away, is_database_busy

FIRST_PAUSE_S = 0.05
BUSY_TRIES = 5
LOG_EVERY_TRIES = 5

_log = structlog.get_logger(__name__)


async def until_database_answers(
    call: Callable[[], Awaitable[None]], *, give_up_after: int | None = None, busy_tries: int = BUSY_TRIES
) -> None:
    """Run `call`, again and again while the database is away; ends with success, another error, or cancellation at stop.

    A database that is busy (locks, a statement timeout) gets `busy_tries` more tries: a statement that is always too slow is a
    fault of ours.
    """
    try:
        await call()
    except Exception as error:
        if not is_database_away(error) and not (busy_tries and is_database_busy(error)):
            raise
        await _again_and_again(call, give_up_after, busy_tries)


async def _again_and_again(call: Callable[[], Awaitable[None]], give_up_after: int | None, busy_tries: int) -> None:
    def worth_repeating(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is None or (give_up_after is not None and state.attempt_number >= give_up_after):
            return False
        return is_database_away(error) or (is_database_busy(error) and state.attempt_number < busy_tries)

    await asyncio.sleep(FIRST_PAUSE_S)
    async for attempt in AsyncRetrying(
        retry=worth_repeating,
        wait=wait_exponential_jitter(multiplier=2 * FIRST_PAUSE_S, max=2.0, jitter=0.1),
        before_sleep=_log_retry,
        reraise=True,
    ):
        with attempt:
            await call()


def _log_retry(state: RetryCallState) -> None:
    if state.attempt_number % LOG_EVERY_TRIES == 0:
        error = state.outcome.exception() if state.outcome is not None else None
        _log.warning("message_waits_for_database", tries=state.attempt_number, reason=type(error).__name__)
