"""Looks at attempts that have ended and of which TikTok may know more: late outcomes, posted drafts, ids of videos."""

from dataclasses import dataclass
from typing import Any

import structlog

from publisher.domain.backoff import defer_wait
from publisher.domain.claims import Claims
from publisher.domain.following import Seen
from publisher.domain.outcomes import Defer, Identified
from publisher.domain.troubles import Trouble, TroubleKind
from publisher.domain.watching import Question, after_look, claims_count_in, next_look, open_question
from publisher.errors import CallFailed
from publisher.runner import events
from publisher.runner.claims import claims_of
from publisher.runner.conclude import conclude
from publisher.runner.run import JobRun
from publisher.runner.steps.status import fetch

MAX_PASSING_TROUBLES = 8
"""So many looks in a row that TikTok did not answer are made again soon; then the next one of the plan is waited for."""
SAID_FAILED = "FAILED"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Status:
    """What TikTok's status told, or in how many seconds to ask again; `for_account`: the account has to come back first."""

    seen: Seen | None = None
    again_in: float | None = None
    awaits: str | None = None
    for_account: bool = False


async def watch(run: JobRun) -> None:
    """Look once, tell what is new, and plan the next look, less and less often and in the end none. Raises LeaseLost."""
    job = run.job
    question = _open_question(run)
    if question is None:
        await run.store({}, ended=True)
        return
    status = await _status(run)
    claims = await claims_of(run)
    settled = after_look(
        question,
        status.seen,
        claims,
        run.clock.now(),
        patience=run.tools.limits.webhook_patience,
        said_failed=job.tiktok_status == SAID_FAILED,
    )
    changes = {} if status.seen is None else {"tiktok_status": status.seen.status}
    match settled:
        case None:
            await _look_again(run, question, status, claims, changes)
        case Identified():
            event = events.identified(job, run.tools.replica, settled)
            await run.store({**changes, "tiktok_video_id": settled.video_id}, event=event, ended=True)
        case _:
            await conclude(run, settled, changes)


async def put_off(run: JobRun) -> None:
    """Make a look that an error of our own broke off again soon, and after some of them leave it to the plan."""
    question = _open_question(run)
    if question is None:
        await run.store({}, ended=True)
    else:
        await _look_again(run, question, _unanswered(run, None), None, {})


def _open_question(run: JobRun) -> Question | None:
    job = run.job
    return open_question(job.checkpoint.state, job.checkpoint.outcome, is_identified=job.tiktok_video_id is not None)


async def _status(run: JobRun) -> _Status:
    if run.job.publish_id is None:
        return _Status()
    try:
        seen = await fetch(run, run.job.publish_id)
    except CallFailed as failed:
        return _after_trouble(run, failed.trouble)
    return _Status(again_in=seen.seconds, awaits=seen.awaits) if isinstance(seen, Defer) else _Status(seen)


def _after_trouble(run: JobRun, trouble: Trouble) -> _Status:
    match trouble.kind:
        case TroubleKind.NOT_SENT | TroubleKind.NO_VERDICT | TroubleKind.BUSY:
            return _unanswered(run, trouble.wait)
        case kind:
            return _Status(for_account=kind is TroubleKind.ACCOUNT_WAITS)


def _unanswered(run: JobRun, wait: float | None) -> _Status:
    deferrals = run.job.checkpoint.deferrals
    return _Status(again_in=(wait or defer_wait(deferrals)) if deferrals < MAX_PASSING_TROUBLES else None)


async def _look_again(
    run: JobRun, question: Question, status: _Status, claims: Claims | None, changes: dict[str, Any]
) -> None:
    checkpoint = run.job.checkpoint
    if status.again_in is not None:
        # Not asked, or not answered: this look is still to come.
        deferrals = checkpoint.deferrals + (status.awaits is None)
        await run.store({"deferrals": deferrals, "awaits_quota": status.awaits}, ended=True, release_in=status.again_in)
        return
    looks = checkpoint.polls + 1
    waits = [next_look(question, status.seen, looks)]
    if status.seen is None:
        waits.append(claims_count_in(claims, run.clock.now(), patience=run.tools.limits.webhook_patience))
    planned = min((wait for wait in waits if wait is not None), default=None)
    stored = {**changes, "polls": looks, "deferrals": 0, "awaits_account": status.for_account and planned is not None}
    await run.store(stored, ended=True, release_in=planned, unless_news=status.for_account)
