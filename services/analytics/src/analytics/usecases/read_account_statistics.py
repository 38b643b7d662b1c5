"""Reads the statistics of an account: its newest figures with their changes, and their history."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from analytics.domain.account_measures import LOOKBACKS, AccountCounts, AccountMeasure, Change, change
from analytics.domain.period import Period
from analytics.domain.time_zone import Interval, starts
from analytics.storage import account_figures as storage
from common.database import Connection
from common.errors import Problem


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """The newest measure, None when there is none yet, and the change over each time looked back, None where it is unknown."""

    newest: AccountMeasure | None
    changes: dict[str, Change | None]


async def read_account_figures(connection: Connection, account_id: UUID, *, user_id: UUID) -> AccountFigures:
    """Return the newest figures of a user's account. Raises Problem 404 `account_not_found`."""
    await _check_owner(connection, account_id, user_id)
    distances = [lookback.distance for lookback in LOOKBACKS.values()]
    newest, *earlier = await storage.latest(connection, account_id, distances)
    if newest is None:
        return AccountFigures(None, dict.fromkeys(LOOKBACKS))
    pairs = zip(LOOKBACKS.items(), earlier, strict=True)
    return AccountFigures(newest, {name: change(newest, measure, lookback) for (name, lookback), measure in pairs})


async def read_account_history(
    connection: Connection, account_id: UUID, *, user_id: UUID, asked: Period, interval: Interval, zone: ZoneInfo
) -> list[tuple[datetime, AccountCounts]]:
    """Return, for each hour or day of the zone's clock that has a measure within the period, its start and its last measure.

    Raises Problem 404 `account_not_found`.
    """
    await _check_owner(connection, account_id, user_id)
    begins = starts(interval, zone, asked.since, asked.until)
    if interval == "hour":
        return await storage.last_of_hours(connection, account_id, asked, begins)
    # Of days of UTC all is known from their last measures, except of one that the period cuts off.
    are_days_of_utc = all(begin == _day_of_utc(begin) for begin in begins)
    hourly_since = max(asked.since, _day_of_utc(asked.until)) if are_days_of_utc else asked.since
    return await storage.last_of_days(connection, account_id, asked, begins, hourly_since=hourly_since)


def _day_of_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def _check_owner(connection: Connection, account_id: UUID, user_id: UUID) -> None:
    if not await storage.is_known(connection, account_id, user_id=user_id):
        raise Problem(404, "account_not_found", "There is no such TikTok account.")
