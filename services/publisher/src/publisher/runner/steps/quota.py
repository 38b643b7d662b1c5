"""TikTok's limits as a job meets them: one is taken before each try of a call, and a job that finds none waits for its turn."""

from collections.abc import Sequence
from dataclasses import replace

from publisher.clients.tiktok import BeforeSend
from publisher.domain.outcomes import Defer
from publisher.domain.pacing import Limit, Standing, only_awaits_turn, seconds_to_wait
from publisher.domain.tiktok_limits import INIT, TURN, wait_reason
from publisher.errors import QuotaUsedUp
from publisher.metrics import QUOTA_WAITS
from publisher.runner.run import JobRun
from publisher.storage import quota_line, quotas
from publisher.storage.quota_sql import Line
from publisher.storage.quotas import Ask

TURN_PATIENCE_SECONDS = 10.0
"""How long a job waits for one that was due before it and does not begin (its replica hangs); normally that one calls it."""


async def await_turn(run: JobRun) -> Defer | None:
    """Return how long the job has to wait before it may begin; None when an init can be made now.

    Nothing is taken yet. So posts of one account begin one after the other, in the order in which they were due, and what has to
    wait for hours asks neither TikTok nor accounts before its time.
    """
    return await asked(run, _of_beginning(run), peek=True)


async def take_init(run: JobRun) -> Defer | None:
    """Take all that an init counts against, just before it; returns how long to wait when something is used up."""
    return await asked(run, _of_beginning(run))


def counted(run: JobRun, ask: Ask) -> BeforeSend:
    """Return what comes before each try of a call: one is taken, then the lease checked. It raises QuotaUsedUp, LeaseLost."""

    async def take_one() -> None:
        wait = await asked(run, [ask])
        if wait is not None:
            raise QuotaUsedUp(wait)
        run.lease.check()

    return take_one


def _of_beginning(run: JobRun) -> Sequence[Ask]:
    caps = run.tools.limits.caps
    direct = [quotas.of_creators(run.job, caps)] if run.job.post.mode == "direct" else []
    return [*direct, quotas.of_day(run.job, caps), quotas.of_init(run.job)]


async def asked(run: JobRun, asks: Sequence[Ask], *, peek: bool = False) -> Defer | None:
    """Take one of each limit, or with `peek` none; returns how long to wait for the first that is used up."""
    async with run.database.transaction() as tx:
        version = await quota_line.version(tx.connection, run.job.account_id)
        for ask in asks:
            waited = run.job.awaits_quota == (TURN if ask.limit is INIT else ask.limit.name)
            standing = await quotas.take(tx.connection, ask, run.job, peek=peek, waited=waited)
            if not standing.granted:
                wait = _wait(ask.limit, standing)
                QUOTA_WAITS.labels(wait.awaits).inc()
                return replace(wait, line_version=version if ask.line is Line.POSTS else None)
            if ask.limit is INIT and not peek and not standing.is_full(INIT):
                await quota_line.call_next(tx.connection, run.job.account_id, after=INIT.gap)
    return None


def _wait(limit: Limit, standing: Standing) -> Defer:
    seconds = seconds_to_wait(limit, standing)
    if limit is not INIT or not only_awaits_turn(limit, standing):
        return Defer(seconds, wait_reason(limit), awaits=limit.name)
    return Defer(max(seconds, TURN_PATIENCE_SECONDS) if standing.ahead else seconds, wait_reason(limit), awaits=TURN)
