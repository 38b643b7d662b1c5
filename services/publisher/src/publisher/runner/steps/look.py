"""One look at an attempt that has ended: TikTok's status, and the creator's videos where the status leaves something open."""

from dataclasses import dataclass, replace

from publisher.clients.tiktok_troubles import CODE_PREFIX
from publisher.domain.backoff import defer_wait
from publisher.domain.following import Seen
from publisher.domain.matching import Finding
from publisher.domain.outcomes import Defer
from publisher.domain.troubles import Trouble, TroubleKind
from publisher.domain.watching import Question, leaves_open
from publisher.errors import CallFailed, QuotaUsedUp
from publisher.runner.run import JobRun
from publisher.runner.steps.adopt import adopt
from publisher.runner.steps.find_video import find_video
from publisher.runner.steps.status import fetch

LIST_NOT_GRANTED = CODE_PREFIX + "scope_not_authorized"
"""The creator does not let Cuepost see the videos: nothing more can be asked."""
MAX_PASSING_TROUBLES = 8
"""So many looks in a row that TikTok did not answer are made again soon; then the next one of the plan is waited for."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look saw: TikTok's status and what its list of videos told, None where it told nothing.

    `answered`: TikTok was asked all that it can be asked about the attempt, and told what it knows, be it nothing.
    `again_in` is in how many seconds to look again because TikTok did not answer, or a quota (`awaits`) is used up. `for_account`:
    it will not answer before the account is back.
    """

    seen: Seen | None = None
    finding: Finding | None = None
    answered: bool = False
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
    except QuotaUsedUp as used_up:
        return replace(sight, answered=False, again_in=used_up.wait.seconds, awaits=used_up.wait.awaits)
    except CallFailed as failed:
        if failed.trouble.reason.code == LIST_NOT_GRANTED:
            return sight
        listed = _after_trouble(run, failed.trouble)
        return replace(sight, answered=sight.answered and listed.answered, again_in=listed.again_in)


def unanswered(run: JobRun, wait: float | None = None) -> Sight:
    """Return what follows a look without an answer: another one soon, unless there were many in a row."""
    deferrals = run.job.checkpoint.deferrals
    return Sight(again_in=(wait or defer_wait(deferrals)) if deferrals < MAX_PASSING_TROUBLES else None)


async def _status(run: JobRun, question: Question) -> Sight:
    try:
        deferred = await adopt(run) if question is Question.OUTCOME else None
        if deferred is not None:
            return Sight(again_in=deferred.seconds, awaits=deferred.awaits)
        if run.job.publish_id is None:
            return Sight(answered=True)
        seen = await fetch(run, run.job.publish_id)
    except CallFailed as failed:
        return _after_trouble(run, failed.trouble)
    return Sight(again_in=seen.seconds, awaits=seen.awaits) if isinstance(seen, Defer) else Sight(seen, answered=True)


def _after_trouble(run: JobRun, trouble: Trouble) -> Sight:
    match trouble.kind:
        case TroubleKind.NOT_SENT | TroubleKind.NO_VERDICT | TroubleKind.BUSY:
            return unanswered(run, trouble.wait)
        case kind:
            # Refused for good is an answer: TikTok does not know it, or will never tell.
            return Sight(answered=kind is TroubleKind.FINAL, for_account=kind is TroubleKind.ACCOUNT_WAITS)
