"""The checks of creation without creating: every problem a post has, and every warning."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from common.contracts.scheduler import PostFields
from common.database.database import Database
from common.errors import Problem
from scheduler.domain.readiness import ACCOUNT_FIELD
from scheduler.usecases.judge_posts import Candidate, Judged, judge_posts
from scheduler.usecases.problems import finding_of
from scheduler.usecases.surroundings import Surroundings, Surveyor
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

    While accounts cannot be asked, the rules that the post breaks by itself are told all the same, with a warning that its account
    was not looked up. Raises Problem 503 `accounts_unavailable` when it breaks none.
    """
    wanted = want_post(fields, now=now, allowed_hosts=allowed_hosts)
    try:
        (around,) = await surveyor.look_around([wanted], user_id)
    except Problem as problem:
        if not wanted.findings:
            raise
        around = Surroundings(sandbox=surveyor.sandbox)
        wanted = replace(wanted, warnings=(*wanted.warnings, finding_of(problem, ACCOUNT_FIELD)))
    async with database.transaction() as tx:
        (judged,) = await judge_posts(tx, [Candidate(wanted, around)], user_id, lock=False)
    return judged
