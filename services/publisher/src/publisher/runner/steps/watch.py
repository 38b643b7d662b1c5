"""Looks at attempts that have ended and of which TikTok may know more: late outcomes, posted drafts, ids of videos."""

from dataclasses import asdict
from typing import Any

from publisher.domain.claims import Claims
from publisher.domain.outcomes import Identified, Unconfirm
from publisher.domain.watching import (
    Question,
    after_look,
    claims_count_in,
    found,
    next_look,
    open_question,
    possible_reason,
)
from publisher.runner import events
from publisher.runner.claims import claims_of
from publisher.runner.conclude import conclude
from publisher.runner.run import JobRun
from publisher.runner.steps.look import Sight, look, unanswered
from publisher.runner.steps.status import told

SAID_FAILED = "FAILED"


async def watch(run: JobRun) -> None:
    """Look once, tell what is new, and plan the next look, less and less often and in the end none. Raises LeaseLost."""
    question = _open_question(run)
    if question is None:
        await run.store({}, ended=True)
        return
    asked_at = run.clock.now()
    sight = await look(run, question)
    claims = await claims_of(run)
    patience, said_failed = run.tools.limits.webhook_patience, run.job.tiktok_status == SAID_FAILED
    settled = after_look(question, sight.seen, claims, run.clock.now(), patience=patience, said_failed=said_failed)
    settled = settled or found(question, sight.finding)
    changes = {} if sight.seen is None else told(sight.seen, asked_at)
    if sight.answered:
        changes["answered_at"] = asked_at
    match settled:
        case None:
            await _look_again(run, question, sight, claims, changes)
        case Identified():
            event = events.identified(run.job, run.tools.replica, settled)
            await run.store({**changes, "tiktok_video_id": settled.video_id}, event=event, ended=True)
        case _:
            await conclude(run, settled, changes)


async def put_off(run: JobRun) -> None:
    """Make a look that an error of our own broke off again soon, and after some of them leave it to the plan."""
    await _look_again(run, _open_question(run) or Question.CONTRADICTION, unanswered(run), None, {})


def _open_question(run: JobRun) -> Question | None:
    job = run.job
    return open_question(job.checkpoint.state, job.checkpoint.outcome, is_identified=job.tiktok_video_id is not None)


async def _look_again(run: JobRun, question: Question, sight: Sight, claims: Claims | None, changes: dict[str, Any]) -> None:
    checkpoint = run.job.checkpoint
    if sight.again_in is not None:
        # Not asked, or not answered: this look is still to come.
        deferrals = checkpoint.deferrals + (sight.awaits is None)
        await run.store(
            {**changes, "deferrals": deferrals, "awaits_quota": sight.awaits}, ended=True, release_in=sight.again_in
        )
        return
    looks = checkpoint.polls + 1
    waits = [next_look(question, sight.seen, looks)]
    if sight.seen is None:
        waits.append(claims_count_in(claims, run.clock.now(), patience=run.tools.limits.webhook_patience))
    planned = min((wait for wait in waits if wait is not None), default=None)
    finding = sight.finding if question in {Question.OUTCOME, Question.CONTRADICTION} else None
    reason = possible_reason(finding) if question is Question.OUTCOME else None
    is_news = reason is not None and asdict(reason) != run.job.reason
    event = events.unconfirmed(run.job, run.tools.replica, Unconfirm(reason)) if is_news and reason is not None else None
    stored = {
        **changes,
        **({} if reason is None else {"reason": asdict(reason)}),
        **({} if finding is None else {"possible_videos": [video.id for video in finding.possible]}),
        "polls": looks,
        "deferrals": 0,
        "awaits_account": sight.for_account and planned is not None,
    }
    await run.store(stored, event=event, ended=True, release_in=planned, unless_news=sight.for_account)
