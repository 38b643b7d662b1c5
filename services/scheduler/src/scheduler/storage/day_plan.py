"""What is planned for an account before the time of a post, within a day."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.daily_cap import Planned
from scheduler.storage.tables import WAITING_SQL

LAST_ID = UUID(int=2**128 - 1)
"""Behind all others that are due at the same moment."""

_PLANNED = text(f"""
    SELECT ask.number, planned.next_attempt_at, planned.publish_before
    FROM unnest(CAST(:numbers AS int[]), CAST(:accounts AS uuid[]), CAST(:modes AS text[]), CAST(:dues AS timestamptz[]),
                CAST(:ids AS uuid[]), CAST(:windows AS interval[]), CAST(:limits AS int[]))
      AS ask(number, account_id, mode, due_at, post_id, since, most)
    CROSS JOIN LATERAL (
        SELECT next_attempt_at, publish_before FROM posts
        WHERE posts.account_id = ask.account_id AND {WAITING_SQL} AND posts.mode = ask.mode
          AND next_attempt_at > ask.due_at - ask.since AND next_attempt_at <= ask.due_at
          AND (next_attempt_at, id) < (ask.due_at, ask.post_id)
        ORDER BY next_attempt_at DESC LIMIT ask.most
    ) AS planned
    ORDER BY ask.number, planned.next_attempt_at
""")  # noqa: S608 - a text of this package


@dataclass(frozen=True, slots=True)
class PlanAsk:
    """Which posts are asked for: those of the account and mode due within `since` before a post, the last `most` of them."""

    account_id: UUID
    mode: str
    due_at: datetime
    post_id: UUID
    since: timedelta
    most: int


async def planned_before(connection: AsyncConnection, asks: Sequence[PlanAsk]) -> Mapping[int, list[Planned]]:
    """Return the waiting posts that come before each of the posts asked for (by place), the earliest first."""
    columns = {
        "numbers": list(range(len(asks))),
        "accounts": [ask.account_id for ask in asks],
        "modes": [ask.mode for ask in asks],
        "dues": [ask.due_at for ask in asks],
        "ids": [ask.post_id for ask in asks],
        "windows": [ask.since for ask in asks],
        "limits": [ask.most for ask in asks],
    }
    found: dict[int, list[Planned]] = defaultdict(list)
    for row in await connection.execute(_PLANNED, columns):
        found[row.number].append(Planned(row.next_attempt_at, row.publish_before))
    return found
