"""Removes copies and daily measures that are kept no longer, a batch at a time."""

from datetime import date, datetime
from uuid import UUID

from common.database.database import Driver

_DAYS = """
WITH old AS (SELECT account_id, day FROM account_days WHERE day < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM account_days mine USING old WHERE mine.account_id = old.account_id AND mine.day = old.day
"""
_POSTS = """
WITH old AS (
    SELECT post_id FROM stats_posts
    WHERE heard_at < $1 AND metrics_due_at IS NULL
      AND state IN ('published', 'sent_to_inbox', 'failed', 'cancelled', 'unconfirmed')
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM stats_posts mine USING old WHERE mine.post_id = old.post_id
"""
_ACCOUNTS = """
WITH old AS (
    SELECT account_id FROM stats_accounts accounts
    WHERE status = 'disconnected' AND account_id < $1
      AND NOT EXISTS (SELECT FROM account_days days WHERE days.account_id = accounts.account_id)
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM stats_accounts mine USING old WHERE mine.account_id = old.account_id
"""


async def remove_days(driver: Driver, *, before: date, limit: int) -> int:
    """Remove daily measures of days before this one; returns how many."""
    return _removed(await driver.execute(_DAYS, before, limit))


async def remove_posts(driver: Driver, *, before: datetime, limit: int) -> int:
    """Remove copies of posts that have ended and were first heard of before this moment; returns how many."""
    return _removed(await driver.execute(_POSTS, before, limit))


async def remove_accounts(driver: Driver, *, before: datetime, limit: int) -> int:
    """Remove copies of disconnected accounts that were made before this moment and have no day left; returns how many.

    An account's id tells when it was made: UUIDv7 begins with it.
    """
    first_id = UUID(int=int(before.timestamp() * 1000) << 80)
    return _removed(await driver.execute(_ACCOUNTS, first_id, limit))


def _removed(status: str) -> int:
    return int(status.rpartition(" ")[2])
