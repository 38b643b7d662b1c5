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
    PostState.DRAFT: "scheduled",
    PostState.SCHEDULED: "scheduled",
    PostState.RETRY_SCHEDULED: "scheduled",
    PostState.DUE: "due",
    PostState.DEFERRED: "upload",
    PostState.PUBLISHING: "upload",
    PostState.PROCESSING: "processing",
    PostState.SENT_TO_INBOX: "published",
}
_ENDED_BADLY = {PostState.FAILED: FAILED, PostState.UNCONFIRMED: FAILED, PostState.CANCELLED: SKIPPED}


def plan(post: Post, scheduled_at: datetime | None = None, *, is_fetching: bool = False) -> list[Step]:
    """Return the steps created, scheduled, due, upload, processing, published in order, for the current attempt.

    `scheduled_at` is when the post got its time; where that is not known, it counts as made with it. A video that comes from an
    address has a step fetch before its upload; `is_fetching` while the publisher says so. The step at which a post failed or
    became unconfirmed is `failed`, the ones after it are `skipped`. What lies in a creator's inbox is not published before its
    creator posts it.
    """
    begins = _begins(post, max(post.created_at, scheduled_at or post.created_at), is_fetching or _failed_to_fetch(post))
    reached = _reached(post, begins, is_fetching)
    ended_badly = _ENDED_BADLY.get(post.state)
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


def _reached(post: Post, begins: list[tuple[str, datetime | None]], is_fetching: bool) -> int:
    """Return the index of the step that is under way, or at which the post ended; beyond the last once it is published."""
    if post.state is PostState.PUBLISHED:
        return len(begins)
    step = _REACHED.get(post.state)
    if step is None:
        return max(index for index, (_, began) in enumerate(begins) if began is not None)
    names = [name for name, _ in begins]
    return names.index("fetch" if is_fetching and step == "upload" else step)


def _failed_to_fetch(post: Post) -> bool:
    return post.state is PostState.FAILED and post.error_code is not None and post.error_code.startswith("source_")


def _begins(post: Post, scheduled_at: datetime, is_fetching: bool) -> list[tuple[str, datetime | None]]:
    """Return when each step began; a retry begins anew with its own due time."""
    is_timed = post.state is not PostState.DRAFT and post.scheduled_time is not None
    is_fetched = post.source_url is not None and post.transfer == "upload"
    return [
        ("created", post.created_at),
        ("scheduled", scheduled_at if is_timed else None),
        ("due", post.due_at),
        *([("fetch", post.started_at)] if is_fetched else []),
        ("upload", None if is_fetched and is_fetching else post.started_at),
        ("processing", post.submitted_at),
        ("published", post.published_at),
    ]
