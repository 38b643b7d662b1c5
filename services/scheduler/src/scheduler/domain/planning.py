"""The steps of a post's life as a plan: which are done, which is under way, which were never reached."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.domain.post import Post
from scheduler.domain.post_states import PostState

PENDING, ACTIVE, DONE, FAILED, SKIPPED = "pending", "active", "done", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; times are None where it has not begun or ended."""

    step: str
    status: str
    started_at: datetime | None = None
    finished_at: datetime | None = None


_REACHED = {
    PostState.DRAFT: 1,
    PostState.SCHEDULED: 1,
    PostState.RETRY_SCHEDULED: 1,
    PostState.DUE: 2,
    PostState.DEFERRED: 3,
    PostState.PUBLISHING: 3,
    PostState.PROCESSING: 4,
    PostState.SENT_TO_INBOX: 5,
    PostState.PUBLISHED: 6,
}
_ENDED_BADLY = {PostState.FAILED: FAILED, PostState.UNCONFIRMED: FAILED, PostState.CANCELLED: SKIPPED}


def plan(post: Post) -> list[Step]:
    """Return the steps created, scheduled, due, upload, processing, published in order, for the current attempt.

    The step at which a post failed or became unconfirmed is `failed`, the ones after it are `skipped`. What lies in a creator's
    inbox is not published before its creator posts it.
    """
    begins = _begins(post)
    reached = _REACHED.get(post.state)
    ended_badly = _ENDED_BADLY.get(post.state)
    if reached is None:
        reached = max(index for index, (_, began) in enumerate(begins) if began is not None)
    steps = []
    for index, (name, began) in enumerate(begins):
        next_began = next((later for _, later in begins[index + 1 :] if later is not None), None)
        if index < reached:
            steps.append(Step(name, DONE, began, next_began or post.ended_at or began))
        elif index == reached and ended_badly is not None:
            steps.append(Step(name, ended_badly, began, post.ended_at))
        elif index == reached:
            steps.append(Step(name, ACTIVE if began is not None else PENDING, began, None))
        else:
            steps.append(Step(name, SKIPPED if ended_badly is not None else PENDING))
    return steps


def _begins(post: Post) -> list[tuple[str, datetime | None]]:
    """Return when each step began; a retry begins anew with its own due time."""
    is_timed = post.state is not PostState.DRAFT and post.scheduled_time is not None
    return [
        ("created", post.created_at),
        ("scheduled", post.created_at if is_timed else None),
        ("due", post.due_at),
        ("upload", post.started_at),
        ("processing", post.submitted_at),
        ("published", post.published_at),
    ]
