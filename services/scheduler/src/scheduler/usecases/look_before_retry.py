"""Before a person's word counts, TikTok is asked once more whether the post is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard
from uuid import UUID

from pydantic import ValidationError

from common.clock import utc_now
from common.contracts.envelope import wrap
from common.contracts.publisher import PublishEvent
from common.contracts.registry import EVENTS
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.clients.publisher import Look, PublisherAway
from scheduler.clients.publisher_places import PublisherPlaces
from scheduler.domain.post import Post
from scheduler.storage.posts import lock_post
from scheduler.usecases.apply_publish_event import PublishRules, apply_publish_event
from scheduler.usecases.post_events import own_context
from scheduler.usecases.problems import (
    possible_videos,
    post_not_found,
    retry_too_early,
    retry_undecided,
    still_processing,
)
from scheduler.usecases.waker import Waker

PUBLISHER = "publisher"

_TOO_SOON = {"too_early": retry_too_early, "still_processing": still_processing}


@dataclass(frozen=True, slots=True)
class LastLook:
    """A look at the attempts up to `attempt`; `live` tells that one of them is at TikTok after all.

    `not_videos` are the videos that may have been the post, and of which its owner says that none is.
    """

    attempt: int
    live: PublishEvent | None = None
    sequence: int = 0
    not_videos: Sequence[str] = ()


def needs_look(post: Post | None, *, confirm_not_published: bool) -> TypeGuard[Post]:
    """Whether it is a post that may be live and that its owner says was not published."""
    return post is not None and post.is_in_doubt and confirm_not_published


async def look_before_retry(publisher: PublisherPlaces, post: Post, not_videos: Sequence[str]) -> LastLook:
    """Look at a post that may be live, and that its owner says was not published, and is none of these videos.

    Raises Problem 503 `retry_undecided` while the publisher or TikTok cannot be asked: nothing is lost, and nothing could be
    published now anyway; 409 `retry_too_early` when the publisher says that nobody can know yet, `still_processing` when TikTok
    says that it works on the post, `possible_videos` when there are videos that may be the post and that the owner has not named.
    When TikTok answered and that settles nothing, the owner's word counts.
    """
    try:
        look = await publisher.look(post)
        live = _live(look)
    except (PublisherAway, ValidationError, KeyError):
        raise retry_undecided() from None
    refusal = _TOO_SOON.get(look.outcome)
    if refusal is not None and look.until is not None:
        raise refusal(look.until, now=utc_now())
    if refusal is not None or look.outcome == "unanswered":
        raise retry_undecided()
    possible = [video.id for video in look.possible_videos]
    if look.outcome == "unknown" and not set(possible) <= set(not_videos):
        raise possible_videos([(video.id, video.url) for video in look.possible_videos])
    return LastLook(post.attempt, live, 0 if look.event is None else look.event.sequence, possible)


def _live(look: Look) -> PublishEvent | None:
    if look.outcome != "live":
        return None
    if look.event is None:
        raise KeyError("event")
    event = EVENTS[look.event.key].model_validate(look.event.data)
    if not isinstance(event, PublishEvent):
        raise KeyError(look.event.key)
    return event


async def settle_as_live(
    tx: Transaction, outbox: Outbox, waker: Waker, rules: PublishRules, post_id: UUID, user_id: UUID, look: LastLook
) -> Post:
    """Make the post what the look found, as the publisher's own event does that is on its way; returns it. Raises Problem 404."""
    post = await lock_post(tx.connection, post_id, user_id)
    if post is None or look.live is None:
        raise post_not_found()
    context = own_context(post)
    envelope = wrap(look.live, service=PUBLISHER, subject=str(post_id), context=context, sequence=look.sequence)
    await apply_publish_event(tx, outbox, waker, rules, look.live, envelope)
    settled = await lock_post(tx.connection, post_id, user_id)
    return settled or post
