"""One look at an attempt that has ended: TikTok's status, and the creator's videos where the status leaves something open."""

from dataclasses import dataclass, replace

from publisher.domain.backoff import defer_wait
from publisher.domain.following import Seen
from publisher.domain.matching import Finding
from publisher.domain.outcomes import Defer
from publisher.domain.troubles import Trouble, TroubleKind
from publisher.domain.watching import Question, leaves_open
from publisher.errors import CallFailed
from publisher.runner.run import JobRun
from publisher.runner.steps.adopt import adopt
from publisher.runner.steps.find_video import find_video
from publisher.runner.steps.status import fetch

MAX_PASSING_TROUBLES = 8
"""So many looks in a row that TikTok did not answer are made again soon; then the next one of the plan is waited for."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look saw: TikTok's status and what its list of videos told, None where it told nothing.

    `again_in` is in how many seconds to look again because TikTok did not answer, or a quota (`awaits`) is used up. `for_account`:
    it will not answer before the account is back.
    """

    seen: Seen | None = None
    finding: Finding | None = None
    again_in: float | None = None
    awaits: str | None = None
    for_account: bool = False


async def look(run: JobRun, question: Question) -> Sight:
    """Ask TikTok; raises LeaseLost."""
    sight = await _status(run, question)
    if sight.again_in is not None or not leaves_open(question, sight.seen):
        return sight
    try:
        return replace(sight, finding=await find_video(run))
    except CallFailed as failed:
        return replace(sight, again_in=_after_trouble(run, failed.trouble).again_in)


def unanswered(run: JobRun, wait: float | None = None) -> Sight:
    """Return what follows a look without an answer: another one soon, unless there were many in a row."""
    deferrals = run.job.checkpoint.deferrals
    return Sight(again_in=(wait or defer_wait(deferrals)) if deferrals < MAX_PASSING_TROUBLES else None)


async def _status(run: JobRun, question: Question) -> Sight:
    try:
        if question is Question.OUTCOME:
            await adopt(run)
        if run.job.publish_id is None:
            return Sight()
        seen = await fetch(run, run.job.publish_id)
    except CallFailed as failed:
        return _after_trouble(run, failed.trouble)
    return Sight(again_in=seen.seconds, awaits=seen.awaits) if isinstance(seen, Defer) else Sight(seen)


def _after_trouble(run: JobRun, trouble: Trouble) -> Sight:
    match trouble.kind:
        case TroubleKind.NOT_SENT | TroubleKind.NO_VERDICT | TroubleKind.BUSY:
            return unanswered(run, trouble.wait)
        case kind:
            return Sight(for_account=kind is TroubleKind.ACCOUNT_WAITS)
