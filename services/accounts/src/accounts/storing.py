"""Storing what there is no second copy of."""

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from common.database.failures import is_database_away, is_database_busy


def until_stored(seconds: float) -> AsyncRetrying:
    """Give the tries of a transaction: another one while the database is away or busy, the last one begun within `seconds`.

    Raises what the last one raised, and at once whatever else a try raises.
    """
    return AsyncRetrying(
        retry=retry_if_exception(lambda error: is_database_away(error) or is_database_busy(error)),
        wait=wait_exponential_jitter(multiplier=0.05, max=2.0, jitter=0.05),
        stop=stop_after_delay(seconds),
        reraise=True,
    )
