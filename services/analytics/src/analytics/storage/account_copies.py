"""Copies of accounts: read and written many at a time, by whoever holds the place in the trail."""

from collections.abc import Collection
from uuid import UUID

from analytics.domain.account_copy import AccountCopy
from common.database.database import Driver

_FIND = "SELECT account_id, user_id, sequence, status, scopes FROM stats_accounts WHERE account_id = ANY($1)"


async def find_accounts(driver: Driver, account_ids: Collection[UUID]) -> dict[UUID, AccountCopy]:
    """Return those that are known."""
    rows = await driver.fetch(_FIND, list(account_ids))
    return {row[0]: AccountCopy(row[0], row[1], row[2], row[3], tuple(row[4])) for row in rows}


# An account that may be looked at is due at once, unless its turn is known.
_SAVE = """
INSERT INTO stats_accounts AS mine (account_id, user_id, sequence, status, scopes, snapshot_due_at)
SELECT account_id, user_id, sequence, status, string_to_array(scopes, ' '),
       CASE WHEN may_be_looked_at THEN clock_timestamp() END
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::boolean[])
    AS told (account_id, user_id, sequence, status, scopes, may_be_looked_at)
ON CONFLICT (account_id) DO UPDATE SET
    sequence = excluded.sequence, status = excluded.status, scopes = excluded.scopes,
    snapshot_due_at = CASE WHEN excluded.snapshot_due_at IS NOT NULL
                           THEN coalesce(mine.snapshot_due_at, excluded.snapshot_due_at) END
"""


async def save_accounts(driver: Driver, copies: Collection[AccountCopy]) -> None:
    """Write copies, each once."""
    ordered = sorted(copies, key=lambda copy: copy.account_id)
    await driver.execute(
        _SAVE,
        [copy.account_id for copy in ordered],
        [copy.user_id for copy in ordered],
        [copy.sequence for copy in ordered],
        [copy.status for copy in ordered],
        # Scopes are words: TikTok writes them in one text, too.
        [" ".join(copy.scopes) for copy in ordered],
        [copy.may_be_looked_at for copy in ordered],
    )
