"""Users who have due posts, found by going from user to user: however many posts each of them has."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from common.database import Driver

FIRST = UUID(int=0)
_LAST = UUID(int=(1 << 128) - 1)

# Two numbers are counted on the way, users and those of them who have something due: either one ends the walk.
_WALK = """
WITH RECURSIVE line AS (
  (SELECT user_id, next_attempt_at <= statement_timestamp() AS is_due, 1 AS walked,
     CASE WHEN next_attempt_at <= statement_timestamp() THEN 1 ELSE 0 END AS found
   FROM posts
   WHERE status IN ('scheduled', 'retry_scheduled') AND NOT held AND user_id > $1 AND user_id <= $2
   ORDER BY user_id, next_attempt_at LIMIT 1)
  UNION ALL
  SELECT following.user_id, following.is_due, walked + 1, found + CASE WHEN following.is_due THEN 1 ELSE 0 END
  FROM line, LATERAL (
    SELECT user_id, next_attempt_at <= statement_timestamp() AS is_due FROM posts
    WHERE status IN ('scheduled', 'retry_scheduled') AND NOT held AND user_id > line.user_id AND user_id <= $2
    ORDER BY user_id, next_attempt_at LIMIT 1
  ) AS following
  WHERE walked < $3 AND found < $4
)
SELECT user_id, is_due, walked FROM line WHERE is_due OR walked = (SELECT max(walked) FROM line) ORDER BY walked
"""


@dataclass(frozen=True, slots=True)
class Line:
    """Users who have something due, in the order of their ids, and the last user up to whom the line was walked."""

    users: Sequence[UUID]
    turn: UUID


async def users_in_line(driver: Driver, turn: UUID, *, but: Collection[UUID], limit: int, walk: int) -> Line:
    """Return up to `limit` users who have due posts, any `but` these: those whose ids follow on `turn`, round to it again.

    At most `walk` users who have a waiting post are looked at, so it costs the same however many there are. Who calls it again with
    the `turn` that it returned comes to all of them.
    """
    users: list[UUID] = []
    last, walked = turn, 0
    for after, until in ((turn, _LAST), (FIRST, turn)):
        left = walk - walked
        if left <= 0:
            break
        rows = await driver.fetch(_WALK, after, until, left, limit + len(but))
        for user_id, is_due, _ in rows:
            last = user_id
            if is_due and user_id not in but:
                users.append(user_id)
                if len(users) == limit:
                    return Line(users, last)
        walked += rows[-1][2] if rows else 0
    return Line(users, last)
