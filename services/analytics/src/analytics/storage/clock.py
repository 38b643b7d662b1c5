"""The database's clock, which decides what is due."""

from datetime import datetime

from common.database.database import Driver


async def database_time(driver: Driver) -> datetime:
    """Return the time now."""
    now: datetime = await driver.fetchval("SELECT clock_timestamp()")
    return now
