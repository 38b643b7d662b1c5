"""Change a draft or a scheduled post: given fields only, the full checks on the result, one row written at once."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.contracts.envelope import Envelope
from common.contracts.scheduler import PostEvent, PostScheduled, PostUpdated
from common.database.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox
from scheduler.domain.owner_requests import is_overtaken
from scheduler.domain.post import Post
from scheduler.domain.post_states import Happening, Kind, PostState, transition
from scheduler.storage.accounts import find_accounts
from scheduler.storage.posts import change_post, lock_post, note_request
from scheduler.usecases.create_post import belonging
from scheduler.usecases.judge_posts import Candidate, Judged, judge_posts
from scheduler.usecases.post_changes import FOLLOWING, changes_between
from scheduler.usecases.post_events import held_event, wrap_event
from scheduler.usecases.problems import hint_of_unconfirmed, overtaken, post_changed, post_not_found, problem_of
from scheduler.usecases.surroundings import Surroundings
from scheduler.usecases.waker import Waker
from scheduler.usecases.wanted_post import WantedPost, want_change


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What was found out before the transaction, and for which account, mode and privacy level it holds."""

    around: Surroundings
    holds_for: tuple[object, ...]

    @classmethod
    def of(cls, wanted: WantedPost, around: Surroundings) -> "EditPlan":
        """Return the plan of a change as it was read before."""
        return cls(around, _decisive(wanted))


EDITABLE = frozenset({PostState.DRAFT, PostState.SCHEDULED})


async def update_post(
    tx: Transaction,
    outbox: Outbox,
    waker: Waker,
    post_id: UUID,
    given: dict[str, Any],
    plan: EditPlan,
    envelope: Envelope,
    *,
    user_id: UUID,
    allowed_hosts: frozenset[str],
    if_match: Collection[str] | None = None,
) -> Post:
    """Write the `given` fields, and emit `PostUpdated`, or `PostScheduled` where a draft gets its time; no change, no event.

    Raises Problem 404; 412 `precondition_failed`; 409 `post_not_editable`, `post_changed`; the refusal of every broken rule.
    Guarantees: of this and the claim of a due post exactly one comes first, so that what is published was stored before or after,
    never a mix.
    """
    around = plan.around
    if around.account_id is not None:
        # Before the post, in the order of every other transaction that locks both.
        await find_accounts(tx.connection, [around.account_id], lock=True)
    post = await lock_post(tx.connection, post_id, user_id)
    if post is None:
        raise post_not_found()
    require_editable(post, if_match, sent_at=envelope.time)
    wanted = want_change(post, given, now=envelope.time, allowed_hosts=allowed_hosts)
    if _decisive(wanted) != plan.holds_for:
        raise post_changed()
    candidate = Candidate(wanted, around, post_id=post.id, is_settled=_is_settled(post, wanted.fields.media_id, around))
    (judged,) = await judge_posts(tx, [candidate], user_id, lock=True)
    if judged.findings:
        raise problem_of(judged.findings)
    columns = _columns(post, judged, given)
    if columns.keys() <= FOLLOWING:
        await note_request(tx.connection, post, envelope.time)
        return post
    new_video = not (candidate.is_settled or wanted.fields.draft)
    changed = await change_post(tx.connection, post, columns, new_video=new_video, requested_at=envelope.time)
    events = [_event(post, changed), *([held_event(changed)] if post.held != changed.held else [])]
    await outbox.emit_all(tx, [wrap_event(outbox, changed, event, envelope.context) for event in events])
    waker.wake_for(tx, changed)
    return changed


def require_editable(post: Post, if_match: Collection[str] | None, *, sent_at: datetime) -> None:
    """Pass when the client knows this version and the post may still be edited, by a request of the moment `sent_at`.

    Raises Problem 412; 409 `post_not_editable`, or `post_changed` when a later request came first: one that names this version
    knows what it changes, whatever the clocks say.
    """
    if if_match is not None and str(post.version) not in if_match:
        raise Problem(
            412,
            "precondition_failed",
            "The post has been changed since the version that If-Match names.",
            hint="Read it again; its ETag is the version to send.",
            headers={"ETag": f'"{post.version}"'},
        )
    if post.state not in EDITABLE:
        raise Problem(
            409,
            "post_not_editable",
            f"The post is {post.status}; only drafts and scheduled posts can be edited.",
            hint=_hint(post),
        )
    if if_match is None and is_overtaken(sent_at, by=post.requested_at):
        raise overtaken()


def _hint(post: Post) -> str:
    hints = {
        PostState.RETRY_SCHEDULED: "Cancel it and create a new post.",
        PostState.UNCONFIRMED: hint_of_unconfirmed(post),
        PostState.FAILED: "POST /posts/{id}/retry tries it as it is; for another content create a new post.",
    }
    return hints.get(post.state, "Create a new post.")


def _decisive(wanted: WantedPost) -> tuple[object, ...]:
    fields = wanted.fields
    return fields.tiktok_account_id, fields.mode, fields.privacy_level, fields.draft


def _is_settled(post: Post, media_id: UUID | None, around: Surroundings) -> bool:
    return post.state is not PostState.DRAFT and (post.media_id, post.account_id) == (media_id, around.account_id)


def _columns(post: Post, judged: Judged, given: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that differ from what is stored."""
    wanted = judged.wanted
    state = PostState.SCHEDULED
    if wanted.fields.draft:
        state = PostState.DRAFT
    elif post.state is PostState.DRAFT:
        state = transition(post.standing, Happening(Kind.SCHEDULE)) or post.state
    columns = {**wanted.columns(), **belonging(judged), "status": state.value, "next_attempt_at": post.next_attempt_at}
    if state is PostState.SCHEDULED and (post.state is PostState.DRAFT or "scheduled_time" in given):
        columns["next_attempt_at"] = wanted.scheduled_time
    if state is post.state and columns["account_id"] == post.account_id:
        # Holding and releasing is for the events of the account, which tell of it.
        columns |= {"held": post.held, "held_reason": post.held_reason}
    return {name: value for name, value in columns.items() if getattr(post, name) != value}


def _event(old: Post, new: Post) -> PostEvent:
    told: dict[str, Any] = {
        "post_id": new.id,
        "account_id": new.account_id,
        "status": new.status,
        "attempt": new.attempt,
        "scheduled_time": new.scheduled_time,
        "changes": changes_between(old, new),
    }
    return PostUpdated(**told) if old.state is new.state else PostScheduled(**told, warnings=new.warnings)
