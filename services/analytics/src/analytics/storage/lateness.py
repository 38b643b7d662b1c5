"""How much of the statistics is late."""

from typing import NamedTuple

from common.database.database import Driver

_LATE = """
SELECT (SELECT count(*) FROM stats_accounts WHERE snapshot_due_at < now() - interval '10 minutes') AS accounts,
       (SELECT count(*) FROM stats_posts WHERE metrics_due_at < now() - interval '10 minutes') AS videos,
       coalesce((SELECT seq FROM audit.records ORDER BY recorded_at DESC, seq DESC LIMIT 1), 0)
       - coalesce((SELECT seq FROM projection WHERE name = 'statistics'), 0) AS records
"""


class Lateness(NamedTuple):
    """Accounts and videos whose look should have been ten minutes ago, and records that the copies do not know yet."""

    accounts: int
    videos: int
    records: int


async def lateness(driver: Driver) -> Lateness:
    """Return how much is late now; while nothing is recorded (all months were dropped) no record is."""
    row = await driver.fetchrow(_LATE)
    return Lateness(row["accounts"], row["videos"], max(row["records"], 0))
