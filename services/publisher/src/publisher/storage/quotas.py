"""TikTok's limits, counted before TikTok has to refuse; shared by all replicas.

One row per owner (an account, or the whole app) and limit holds the moments that count, and for whom.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.pacing import Limit, Standing
from publisher.domain.tiktok_limits import CREATOR_INFO, DAY, INIT, STATUS, TURN, VIDEO_LIST, Caps
from publisher.storage.job import Job
from publisher.storage.quota_sql import BEGIN, LEARN, TAKE, Line
from publisher.storage.tables import tiktok_quotas

APP = "app"
"""Owner of a limit of the whole app."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Which limit of whose is asked, for whom, and who comes first.

    With `once` the same taker has it already for the rest of the window, unless the job it was for has published nothing and
    never will; `renewed` begins its window anew. `waits` are the waits that count in the line of posts, `mode` the posts. What one
    owner learns of the limit holds for all that have the same `shared` owner, except for takers that have it already.
    """

    limit: Limit
    owner: str
    taker: UUID
    line: Line = Line.NOBODY
    once: bool = False
    renewed: bool = False
    mode: str | None = None
    waits: tuple[str, ...] = ()
    shared: str | None = None


def of_init(job: Job) -> Ask:
    """Return the ask for one of the inits per minute, in the order in which the account's posts are due."""
    return Ask(INIT, str(job.account_id), job.id, Line.POSTS, waits=(INIT.name, TURN))


def of_init_again(job: Job) -> Ask:
    """Return the ask for one more of the inits per minute for a job whose turn it is: nobody comes first, and no gap is kept."""
    return Ask(replace(INIT, gap=0.0), str(job.account_id), job.id)


def of_day(job: Job, caps: Caps) -> Ask:
    """Return the ask for one of the account's posts, or drafts, per day, in the order in which they are due."""
    limit = caps.of_mode(job.post.mode)
    waits = (INIT.name, TURN, limit.name)
    return Ask(limit, str(job.account_id), job.id, Line.POSTS, once=True, mode=job.post.mode, waits=waits)


def of_creators(job: Job, caps: Caps) -> Ask:
    """Return the ask for a place among the creators for whom the app may publish within a day.

    Where the places are not counted, each account has a row of its own, so that they do not queue for one; a refusal of
    TikTok's is the app's and holds for all of them.
    """
    if caps.counts_active_users:
        return Ask(caps.active_users, APP, job.account_id, Line.CREATORS, once=True, renewed=True)
    return Ask(caps.active_users, str(job.account_id), job.account_id, once=True, renewed=True, shared=APP)


def of_creator_info(job: Job) -> Ask:
    """Return the ask for one question about the creator."""
    return Ask(CREATOR_INFO, str(job.account_id), job.id)


def of_status(job: Job) -> Ask:
    """Return the ask for one question about a publication, in the order in which they were wanted."""
    return Ask(STATUS, str(job.account_id), job.id, Line.WAITERS)


def of_video_list(job: Job) -> Ask:
    """Return the ask for one page of the creator's videos."""
    return Ask(VIDEO_LIST, str(job.account_id), job.id)


async def take(connection: AsyncConnection, ask: Ask, job: Job, *, peek: bool = False, waited: bool = False) -> Standing:
    """Take one in one atomic statement, if there is one for this asker; returns how the limit stood.

    `peek` only looks. `waited` is for a job that has waited for its turn long enough: it passes those ahead of it as long as
    there is room for them, too.
    """
    values = {
        "owner": ask.owner,
        "name": ask.limit.name,
        "taker": ask.taker,
        "allowed": ask.limit.allowed,
        "window": ask.limit.window,
        "gap": ask.limit.gap,
        "once": ask.once,
        "renewed": ask.renewed,
        "peek": peek,
        "waited": waited,
        "account": job.account_id,
        "due_at": job.post.due_at,
        "post_id": job.post_id,
        "mode": ask.mode,
        "waits": list(ask.waits),
        "shared": ask.shared,
    }
    statement = TAKE[ask.line]
    parameters = {name: value for name, value in values.items() if name in statement.names}
    row = (await connection.execute(statement.sql, parameters)).one_or_none()
    if row is None:
        await connection.execute(BEGIN, {"owner": ask.owner, "name": ask.limit.name})
        row = (await connection.execute(statement.sql, parameters)).one()
    return Standing(row.granted, row.calls, row.ahead, row.not_before, row.now)


async def learn(connection: AsyncConnection, ask: Ask, seconds: float) -> None:
    """Note that TikTok refused although there seemed to be one left: nothing is given out for so many seconds.

    What the asker was given once for the window is taken back: it did not come of it. A shared limit is used up for all owners.
    """
    back = ask.taker if ask.once else None
    for owner in (ask.owner, ask.shared):
        if owner is not None:
            await connection.execute(LEARN, {"owner": owner, "name": ask.limit.name, "seconds": seconds, "back": back})


async def prune(connection: AsyncConnection, *, limit: int) -> int:
    """Remove up to `limit` rows in which nothing counts any more; returns how many."""
    last = tiktok_quotas.c.calls[func.cardinality(tiktok_quotas.c.calls)]
    before = func.now() - timedelta(seconds=DAY)
    idle = (
        select(tiktok_quotas.c.owner, tiktok_quotas.c.name)
        .where(or_(last.is_(None), last < before), func.coalesce(tiktok_quotas.c.not_before, before) <= func.now())
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("idle")
    )
    owner_and_name = (tiktok_quotas.c.owner == idle.c.owner, tiktok_quotas.c.name == idle.c.name)
    return (await connection.execute(tiktok_quotas.delete().where(*owner_and_name))).rowcount
