"""A post as its events tell of it, whatever order they come in and however often.

The scheduler's events tell its state and what became of it, the publisher's how far an attempt is. Of each source the event with
the highest sequence counts, so the copy depends on which events were heard, and not on their order.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from analytics.domain.event import Event
from analytics.domain.event_fields import MAX_ATTEMPT, count_of, moment_of, uuid_of

_SCHEDULER: Final = "scheduler.post."
_PROGRESS: Final = {
    "publisher.publish.started.v1": "publishing",
    "publisher.publish.deferred.v1": "deferred",
    "publisher.publish.submitted.v1": "processing",
}
_ENDS: Final = tuple(
    f"publisher.publish.{past}.v1" for past in ("succeeded", "failed", "unconfirmed", "cancelled", "identified")
)
_STATES: Final = tuple(
    f"scheduler.post.{past}.v1"
    for past in (
        *("drafted", "scheduled", "updated", "held", "cancelled", "due"),
        *("retry_scheduled", "failed", "published", "unconfirmed"),
    )
)
POST_KEYS: Final = (*_STATES, *_PROGRESS, *_ENDS)
_SAYS_NOTHING_OF_THE_END: Final = frozenset({"scheduler.post.updated.v1", "scheduler.post.held.v1"})
_CARRIES_AN_ERROR: Final = frozenset({"scheduler.post.failed.v1", "scheduler.post.unconfirmed.v1"})
_PUBLISHED: Final = "scheduler.post.published.v1"


@dataclass(frozen=True, slots=True)
class PostCopy:
    """One post. `state` is the scheduler's word, `progress` the publisher's about attempt `progress_attempt`.

    The sequences are those of the newest events heard, 0 before the first; without one of the scheduler, a post that the publisher
    has in hand is `due`. Where its owner says that it is published (`published_by_owner`), `published_at` is when that was said.
    """

    post_id: UUID
    user_id: UUID
    heard_at: datetime
    account_id: UUID | None = None
    state: str = "due"
    state_sequence: int = 0
    attempt: int = 0
    outcome_sequence: int = 0
    progress: str | None = None
    progress_attempt: int = 0
    progress_sequence: int = 0
    scheduled_at: datetime | None = None
    published_at: datetime | None = None
    published_by_owner: bool = False
    tiktok_video_id: str | None = None
    error_code: str | None = None
    lateness_ms: float | None = None

    @property
    def placed_at(self) -> datetime:
        """The time a period is asked by."""
        return self.scheduled_at or self.heard_at

    @property
    def is_measurable(self) -> bool:
        """Whether it is a public video at TikTok: only of those TikTok tells the id."""
        return self.published_at is not None and self.tiktok_video_id is not None and self.account_id is not None


def follow_post(known: PostCopy | None, event: Event) -> PostCopy | None:
    """Return the copy after one more event, `known` itself when it tells nothing new."""
    post_id, sequence = uuid_of(event.subject), event.sequence
    if post_id is None or sequence is None or event.key not in POST_KEYS:
        return known
    if known is None:
        if event.user_id is None:
            return None
        known = PostCopy(post_id, event.user_id, event.time)
    changes: dict[str, Any] = {}
    if event.time < known.heard_at:
        changes["heard_at"] = event.time
    follow = _scheduler_says if event.key.startswith(_SCHEDULER) else _publisher_says
    changes |= follow(known, event, sequence)
    return replace(known, **changes) if changes else known


def _scheduler_says(known: PostCopy, event: Event, sequence: int) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    status = event.text("status")
    if sequence > known.state_sequence and status is not None:
        changes |= {
            "state": status,
            "state_sequence": sequence,
            "attempt": count_of(event.data.get("attempt"), at_most=MAX_ATTEMPT) or 0,
            "account_id": uuid_of(event.data.get("account_id")),
            "scheduled_at": moment_of(event.data.get("scheduled_time")),
        }
    if sequence > known.outcome_sequence and event.key not in _SAYS_NOTHING_OF_THE_END:
        changes |= {
            "outcome_sequence": sequence,
            "published_at": moment_of(event.data.get("published_at")) if event.key == _PUBLISHED else None,
            "published_by_owner": event.key == _PUBLISHED and event.data.get("by_owner") is True,
            "error_code": event.text("code") if event.key in _CARRIES_AN_ERROR else None,
        }
    video_id = _video_id(known.tiktok_video_id, event)
    if video_id != known.tiktok_video_id:
        changes["tiktok_video_id"] = video_id
    return changes


def _video_id(known: str | None, event: Event) -> str | None:
    """Return the id as it is after the event: it comes with the publication or later, as a change.

    A post has one in all its life, except that its owner's word gives way to TikTok's.
    """
    if event.key == _PUBLISHED:
        before, told = None, event.text("tiktok_video_id")
        if known is not None and event.data.get("by_owner") is True:
            return known
    else:
        before, told = _changed_video_id(event)
    if told is None:
        return known
    return told if known in (None, before) else min(told, known)


def _changed_video_id(event: Event) -> tuple[Any, str | None]:
    changes = event.data.get("changes")
    changed = changes.get("tiktok_video_id") if isinstance(changes, dict) else None
    if not isinstance(changed, list) or len(changed) != 2:
        return None, None
    before, told = changed
    return before, told if isinstance(told, str) and told else None


def _publisher_says(known: PostCopy, event: Event, sequence: int) -> dict[str, Any]:
    attempt = count_of(event.data.get("attempt"), at_most=MAX_ATTEMPT)
    if attempt is None:
        return {}
    changes: dict[str, Any] = {}
    if (attempt, sequence) > (known.progress_attempt, known.progress_sequence):
        changes |= {
            "progress": _PROGRESS.get(event.key),
            "progress_attempt": attempt,
            "progress_sequence": sequence,
        }
        if known.state_sequence == 0:
            changes |= {"attempt": attempt, "account_id": uuid_of(event.data.get("account_id"))}
    lateness = event.number("lateness_ms") if event.key == "publisher.publish.started.v1" else None
    if lateness is not None and (known.lateness_ms is None or lateness > known.lateness_ms):
        changes["lateness_ms"] = float(lateness)
    return changes
