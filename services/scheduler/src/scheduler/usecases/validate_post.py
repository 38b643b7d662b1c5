"""The checks of creation without creating: every problem a post has, and every warning."""

from collections.abc import Set as AbstractSet
from datetime import datetime
from uuid import UUID

from common.contracts.scheduler import PostFields
from common.database.database import Database
from scheduler.usecases.judge_posts import Candidate, Judged, judge_posts
from scheduler.usecases.surroundings import Surveyor
from scheduler.usecases.wanted_post import want_post


async def validate_post(
    database: Database,
    surveyor: Surveyor,
    fields: PostFields,
    user_id: UUID,
    *,
    now: datetime,
    allowed_hosts: AbstractSet[str],
) -> Judged:
    """Return every rule that the post would break if it were created now, and its warnings; stores and locks nothing.

    Raises Problem 503 `accounts_unavailable` when that cannot be known and nothing else is wrong.
    """
    wanted = want_post(fields, now=now, allowed_hosts=allowed_hosts)
    (around,) = await surveyor.look_around([wanted], user_id)
    async with database.transaction() as tx:
        (judged,) = await judge_posts(tx, [Candidate(wanted, around)], user_id, lock=False)
    return judged
