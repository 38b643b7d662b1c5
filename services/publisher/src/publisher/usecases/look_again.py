"""One more look at attempts that may be live, before a person's word counts instead of TikTok's.

Their outcome is not known, or their failure was denied by a webhook.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from common.database import Transaction
from publisher.domain.job import State
from publisher.domain.video_address import video_address
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
    """TikTok was asked about each attempt that may be live, and answered, and its answer settles nothing (`possible`: nearly)."""
    TOO_EARLY = "too_early"
    """TikTok cannot be asked, and something may still come of an attempt: nobody can know yet."""
    STILL_PROCESSING = "still_processing"
    """TikTok says that it still works on an attempt, or still fetches it: nobody can know yet."""
    UNANSWERED = "unanswered"
    """TikTok could not be asked just now."""


MAX_POSSIBLE = 100
"""So many videos are named, the newest ones: as many as one look reads."""


@dataclass(frozen=True, slots=True)
class PossibleVideo:
    """A video of the creator that may be the post, and its public address where that is known."""

    id: str
    url: str | None


@dataclass(frozen=True, slots=True)
class LookResult:
    """The outcome; of a live attempt the event that tells it, and its sequence; else until when a person's word waits, if it does.

    `possible`: the creator's videos that may be an attempt in doubt, newest first.
    """

    outcome: LookOutcome
    event: StoredEvent | None = None
    sequence: int = 0
    until: datetime | None = None
    possible: Sequence[PossibleVideo] = ()


async def begin_look(tx: Transaction, post_id: UUID, attempt: int) -> Mapping[UUID, Looked]:
    """Make every attempt up to this one that may be live due at once; returns how they stood, by id."""
    found = await looks.attempts_until(tx.connection, post_id, attempt)
    doubtful = {job.id: job for job in found if job.is_in_doubt}
    await looks.look_at(tx.connection, list(doubtful))
    return doubtful


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
    doubtful = [job for job in found if job.is_in_doubt]
    if any(job.in_hand or not _is_looked_at(job, before) for job in doubtful):
        return None
    if not doubtful and all(job.state.proves_nothing_published for job in found):
        return LookResult(LookOutcome.NOT_PUBLISHED)
    waits = [until for job in doubtful if (until := job.too_early_until(vouch_after)) is not None]
    if waits:
        return LookResult(LookOutcome.TOO_EARLY, until=max(waits))
    under_way = [until for job in doubtful if _is_since(job.status_at, job, before) and (until := job.under_way_until())]
    if under_way:
        return LookResult(LookOutcome.STILL_PROCESSING, until=max(under_way))
    is_answered = all(_is_since(job.answered_at, job, before) for job in doubtful)
    if not is_answered:
        return LookResult(LookOutcome.UNANSWERED)
    return LookResult(LookOutcome.UNKNOWN, possible=_possible_videos(doubtful))


def _possible_videos(doubtful: Sequence[Looked]) -> Sequence[PossibleVideo]:
    urls = {video: video_address(job.transfer, job.username, video) for job in doubtful for video in job.possible_videos}
    newest_first = sorted(urls.items(), key=lambda item: (len(item[0]), item[0]), reverse=True)
    return [PossibleVideo(video, url) for video, url in newest_first[:MAX_POSSIBLE]]


def _is_since(told_at: datetime | None, job: Looked, before: Mapping[UUID, Looked]) -> bool:
    """Whether TikTok told it in answer to a look that began since; that the job was looked at is no answer."""
    return job.id in before and told_at is not None and told_at > before[job.id].seen_at


def _is_looked_at(job: Looked, before: Mapping[UUID, Looked]) -> bool:
    """Whether it was looked at since; one that came into doubt meanwhile was just looked at, or is about to be."""
    return job.id not in before or job.sequence > before[job.id].sequence
