"""Storing how a step ended: the job's new state, when it is due again, and the event that tells of it."""

import random
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from common.contracts.publisher import PublishDeferred
from publisher.domain.backoff import poll_wait
from publisher.domain.claims import doubted
from publisher.domain.job import Lane, State, Step
from publisher.domain.outcomes import Cancel, Defer, Fail, Look, Reason, Submitted, Succeed, Unconfirm
from publisher.domain.takeover import DEADLINE_PASSED, deadline_passed, draft_unknown
from publisher.domain.tiktok_limits import TURN
from publisher.domain.watching import Question, open_question, watch_wait
from publisher.runner import events
from publisher.runner.claims import claims_of
from publisher.runner.limits import ANNOUNCE_AFTER_SECONDS
from publisher.runner.run import JobRun
from publisher.storage.job import StoredEvent

Outcome = Look | Defer | Fail | Unconfirm | Succeed | Submitted | Cancel

JITTER = 0.1
LATE_SECONDS = 10.0
"""So long after a deadline that could not be told yet it is tried again every second; then as for any other wait."""
SAME_FORECAST = timedelta(seconds=2)
PUBLIC = "PUBLIC_TO_EVERYONE"
"""TikTok gives ids of public videos alone."""


async def conclude(run: JobRun, outcome: Outcome, changes: dict[str, Any]) -> None:
    """Store the outcome with `changes` and give up the lease. Raises `LeaseLost`; then nothing was stored or told."""
    match outcome:
        case Look():
            reason = None if outcome.reason is None else asdict(outcome.reason)
            await run.store({"reason": reason, **changes}, release_in=outcome.seconds)
        case Defer():
            await _defer(run, outcome, changes)
        case Submitted():
            await _submitted(run, outcome, changes)
        case Succeed():
            await _succeed(run, outcome, changes)
        case Cancel():
            stopped = events.cancelled(run.job, run.tools.replica)
            await run.store({**_end(State.CANCELLED, None), **changes}, event=stopped, ended=True)
        case Fail():
            await _fail(run, outcome, changes)
        case _:
            lost = draft_unknown(outcome) if run.job.post.mode == "inbox" else outcome
            stored = {**_end(State.UNCONFIRMED, lost.reason), **_WATCHED, **changes}
            event = events.unconfirmed(run.job, run.tools.replica, lost)
            await run.store(stored, event=event, ended=True, release_in=watch_wait(Question.OUTCOME, 0))


async def _defer(run: JobRun, defer: Defer, changes: dict[str, Any]) -> None:
    # A turn is exact: whoever comes later is not to come first.
    spread = 1.0 if defer.awaits else random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 - jitter, not a secret
    seconds = defer.seconds * spread
    now = run.clock.now()
    checkpoint = run.job.checkpoint
    left = (checkpoint.publish_before - now).total_seconds()
    if checkpoint.deadline_holds and left > -LATE_SECONDS:
        # Due again right after the deadline at the latest, so that its end is told in time; soon, when it passed during this run.
        seconds = min(seconds, left + 0.01 if left > 0 else 1.0)
    deferrals = checkpoint.deferrals + (defer.awaits is None)
    stored = {"deferrals": deferrals, "reason": asdict(defer.reason), "awaits_quota": defer.awaits, **changes}
    event = _deferred(run, defer, seconds, now)
    if defer.for_account:
        await run.store({**stored, "awaits_account": True}, event=event, release_in=seconds, unless_news=True)
    else:
        await run.store(stored, event=event, release_in=seconds, unless_moved=defer.line_version)


def _deferred(run: JobRun, defer: Defer, seconds: float, now: datetime) -> PublishDeferred | None:
    """Return the event of a wait, None for one too short to tell and for one that was told already and is no news."""
    if not defer.for_account and (seconds < ANNOUNCE_AFTER_SECONDS or defer.awaits == TURN):
        return None
    until = None if defer.for_account else now + timedelta(seconds=seconds)
    event = events.deferred(run.job, run.tools.replica, defer, until)
    return None if not defer.is_news and _is_told(run.job.last_event, event) else event


def _is_told(last: StoredEvent | None, event: PublishDeferred) -> bool:
    """Whether the same wait was told last, with the same forecast but for moments."""
    if last is None or last.key != event.KEY or last.data.get("code") != event.code:
        return False
    until = last.data.get("until")
    if until is None or event.until is None:
        return until is None and event.until is None
    return abs(datetime.fromisoformat(until) - event.until) < SAME_FORECAST


def _deadline_passed(run: JobRun) -> Fail:
    reason = run.job.reason or {}
    return deadline_passed(reason.get("code"), reason.get("message"))


async def _submitted(run: JobRun, submitted: Submitted, changes: dict[str, Any]) -> None:
    checkpoint = run.job.checkpoint
    publish_id = submitted.publish_id or run.job.publish_id or ""
    log_id = submitted.log_id or run.job.init_log_id
    stored = {
        "step": Step.UPLOADED.value,
        "lane": Lane.FOLLOW.value,
        "publish_id": publish_id,
        "init_log_id": log_id,
        "submitted_at": run.clock.now(),
        "sent_bytes": checkpoint.total_bytes,
        "upload_url": None,
        "polls": 0,
        "deferrals": 0,
        "reason": None,
        **changes,
    }
    event = events.submitted(run.job, run.tools.replica, publish_id, log_id)
    await run.store(stored, event=event, release_in=poll_wait(0))


async def _fail(run: JobRun, outcome: Fail, changes: dict[str, Any]) -> None:
    end = _deadline_passed(run) if outcome is DEADLINE_PASSED else outcome
    end = doubted(end, await claims_of(run))
    event = events.failed(run.job, run.tools.replica, end)
    # What a look tells of an attempt that ended long ago says nothing of today's limits.
    told = None if run.job.checkpoint.state.is_end else outcome
    await run.store({**_end(State.FAILED, end.reason), **changes}, event=event, ended=True, learn_from=told)


async def _succeed(run: JobRun, end: Succeed, changes: dict[str, Any]) -> None:
    video_id = end.post_ids[0] if end.post_ids else None
    question = open_question(State.SUCCEEDED, end.outcome, is_identified=video_id is not None)
    is_private = run.job.privacy_level != PUBLIC
    if question is Question.VIDEO_ID and is_private and run.job.post.mode == "direct":
        question = None
    stored = {
        **_end(State.SUCCEEDED, None),
        **_WATCHED,
        "outcome": end.outcome,
        "tiktok_video_id": video_id,
        **changes,
    }
    event = events.succeeded(run.job, run.tools.replica, end, run.clock.now())
    await run.store(stored, event=event, ended=True, release_in=None if question is None else watch_wait(question, 0))


_WATCHED: dict[str, Any] = {"lane": Lane.FOLLOW.value, "polls": 0, "deferrals": 0}


def _end(state: State, reason: Reason | None) -> dict[str, Any]:
    return {"state": state.value, "reason": None if reason is None else asdict(reason), "upload_url": None}
