"""Which accounts are to be looked at, and who has them in hand.

An account is taken for a while (`leased_until`); the end of that while is the taker's token, so a taker that was too slow settles
nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from common.database.database import Driver


@dataclass(frozen=True, slots=True)
class DueSnapshot:
    """An account in hand. `sequence` is that of the event it was last told of by, `is_known` that this hour has a snapshot."""

    account_id: UUID
    user_id: UUID
    sequence: int
    failures: int
    leased_until: datetime
    is_known: bool


_CLAIM = """
WITH due AS (
    SELECT account_id FROM stats_accounts
    WHERE snapshot_due_at <= now() AND (leased_until IS NULL OR leased_until <= now())
    ORDER BY snapshot_due_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE stats_accounts mine SET leased_until = clock_timestamp() + $1 FROM due WHERE mine.account_id = due.account_id
RETURNING mine.account_id, user_id, sequence, snapshot_failures, leased_until, EXISTS (
    SELECT FROM account_snapshots snapshots
    WHERE snapshots.account_id = mine.account_id AND hour = date_trunc('hour', now(), 'UTC')
)
"""
_MINE = "WHERE account_id = $1 AND leased_until = $2"
# Null means that an event has told meanwhile that nobody may look: that stays.
_SETTLE = f"""
UPDATE stats_accounts SET leased_until = NULL, snapshot_failures = $4,
    snapshot_due_at = CASE WHEN snapshot_due_at IS NOT NULL THEN $3::timestamptz END
{_MINE}
"""  # noqa: S608 - of constants
# Unless an event has told something newer meanwhile: then it is looked again.
_PARK = f"""
UPDATE stats_accounts SET leased_until = NULL, snapshot_failures = 0,
    snapshot_due_at = CASE WHEN sequence <> $3 THEN snapshot_due_at END
{_MINE}
"""  # noqa: S608 - of constants


async def claim_due_snapshots(driver: Driver, *, limit: int, lease: timedelta) -> list[DueSnapshot]:
    """Take up to `limit` accounts that are due, longest due first; those whose taker died are due again after `lease`."""
    return [DueSnapshot(*row) for row in await driver.fetch(_CLAIM, lease, limit)]


async def settle_snapshot(driver: Driver, due: DueSnapshot, *, next_at: datetime, failures: int = 0) -> None:
    """Give an account back, to be looked at again at `next_at`."""
    await driver.execute(_SETTLE, due.account_id, due.leased_until, next_at, failures)


async def park_snapshot(driver: Driver, due: DueSnapshot) -> None:
    """Give an account back that nobody may look at until an event tells something else."""
    await driver.execute(_PARK, due.account_id, due.leased_until, due.sequence)


async def release_snapshot(driver: Driver, due: DueSnapshot) -> None:
    """Give an account back as it was: it stays due."""
    await driver.execute(f"UPDATE stats_accounts SET leased_until = NULL {_MINE}", due.account_id, due.leased_until)  # noqa: S608 - of constants


async def seconds_to_next_snapshot(driver: Driver) -> float | None:
    """Return the seconds until the next account is due that nobody has in hand, None when none is planned."""
    seconds: float | None = await driver.fetchval(
        "SELECT extract(epoch FROM snapshot_due_at - now())::float8 FROM stats_accounts"
        " WHERE snapshot_due_at IS NOT NULL AND (leased_until IS NULL OR leased_until <= now())"
        " ORDER BY snapshot_due_at LIMIT 1"
    )
    return seconds
