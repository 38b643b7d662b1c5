"""How far calls to a TikTok endpoint are booked ahead: a row per endpoint, an atomic statement per call, the database's clock."""

from datetime import timedelta

from common.database.database import Driver

_BOOK = """
INSERT INTO tiktok_call_pace AS pace (endpoint, booked_until) VALUES ($1, clock_timestamp() + $2)
ON CONFLICT (endpoint) DO UPDATE SET booked_until = greatest(pace.booked_until, clock_timestamp()) + $2
WHERE greatest(pace.booked_until, clock_timestamp()) <= clock_timestamp() + $3
RETURNING booked_until - $2 - clock_timestamp()
"""
_HOLD = """
INSERT INTO tiktok_call_pace AS pace (endpoint, booked_until) VALUES ($1, clock_timestamp() + $2)
ON CONFLICT (endpoint) DO UPDATE SET booked_until = greatest(pace.booked_until, excluded.booked_until)
"""


async def book_call(driver: Driver, endpoint: str, *, interval: timedelta, wait_max: timedelta) -> timedelta | None:
    """Book the next free place, `interval` after the one before, and return how far off it is (negative: now).

    None, and nothing booked, when it is more than `wait_max` away.
    """
    ahead: timedelta | None = await driver.fetchval(_BOOK, endpoint, interval, wait_max)
    return ahead


async def hold_calls(driver: Driver, endpoint: str, wait: timedelta) -> None:
    """Let no call be booked for so long."""
    await driver.execute(_HOLD, endpoint, wait)


async def booked_ahead(driver: Driver, endpoint: str) -> timedelta:
    """Return how far off the next free place is, zero or less when it is free now."""
    ahead: timedelta | None = await driver.fetchval(
        "SELECT booked_until - clock_timestamp() FROM tiktok_call_pace WHERE endpoint = $1", endpoint
    )
    return ahead or timedelta(0)
