"""One more look at attempts whose outcome is not known, before a person's word counts instead of TikTok's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from common.database import Transaction
from publisher.domain.job import State
from publisher.storage import looks
from publisher.storage.job import StoredEvent
from publisher.storage.looks import Looked


class LookOutcome(StrEnum):
    """What the look told of the post's attempts."""

    LIVE = "live"
    """One of them is published, or lies in the creator's inbox."""
    NOT_PUBLISHED = "not_published"
    """It is proven that none of them was."""
    UNKNOWN = "unknown"
    """TikTok was asked about each attempt of unknown outcome, and answered, and its answer settles nothing."""
    TOO_EARLY = "too_early"
    """TikTok cannot be asked, and something may still come of an attempt: nobody can know yet."""
    STILL_PROCESSING = "still_processing"
    """TikTok says that it still works on an attempt, or still fetches it: nobody can know yet."""
    UNANSWERED = "unanswered"
    """TikTok could not be asked just now."""


@dataclass(frozen=True, slots=True)
class LookResult:
    """The outcome; of a live attempt the event that tells it, and its sequence; else until when a person's word waits, if it does."""

    outcome: LookOutcome
    event: StoredEvent | None = None
    sequence: int = 0
    until: datetime | None = None


async def begin_look(tx: Transaction, post_id: UUID, attempt: int) -> Mapping[UUID, Looked]:
    """Make every attempt of unknown outcome up to this one due at once; returns how they stood, by id."""
    found = await looks.attempts_until(tx.connection, post_id, attempt)
    unknown = {job.id: job for job in found if job.state is State.UNCONFIRMED}
    await looks.look_at(tx.connection, list(unknown))
    return unknown


async def look_result(
    tx: Transaction, post_id: UUID, attempt: int, before: Mapping[UUID, Looked], *, vouch_after: timedelta
) -> LookResult | None:
    """Return what the attempts look like now, None while a look is still to come or under way.

    `vouch_after` is how long an init without an answer has to be over before a person can know what came of it.
    """
    found = await looks.attempts_until(tx.connection, post_id, attempt)
    live = next((job for job in found if job.state is State.SUCCEEDED), None)
    if live is not None:
        return LookResult(LookOutcome.LIVE, live.last_event, live.sequence)
    unproven = [job for job in found if not job.state.proves_nothing_published]
    unknown = [job for job in unproven if job.state is State.UNCONFIRMED]
    if any(job.in_hand or not _is_looked_at(job, before) for job in unknown):
        return None
    if not unproven:
        return LookResult(LookOutcome.NOT_PUBLISHED)
    waits = [until for job in unknown if (until := job.too_early_until(vouch_after)) is not None]
    if waits:
        return LookResult(LookOutcome.TOO_EARLY, until=max(waits))
    under_way = [until for job in unknown if _is_since(job.status_at, job, before) and (until := job.under_way_until())]
    if under_way:
        return LookResult(LookOutcome.STILL_PROCESSING, until=max(under_way))
    is_answered = all(_is_since(job.answered_at, job, before) for job in unknown)
    return LookResult(LookOutcome.UNKNOWN if is_answered else LookOutcome.UNANSWERED)


def _is_since(told_at: datetime | None, job: Looked, before: Mapping[UUID, Looked]) -> bool:
    """Whether TikTok told it in answer to a look that began since; that the job was looked at is no answer."""
    return job.id in before and told_at is not None and told_at > before[job.id].seen_at


def _is_looked_at(job: Looked, before: Mapping[UUID, Looked]) -> bool:
    """Whether it was looked at since; one that became unknown meanwhile was just looked at."""
    return job.id not in before or job.sequence > before[job.id].sequence
