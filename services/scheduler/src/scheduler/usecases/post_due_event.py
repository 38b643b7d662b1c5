"""`PostDue`: all the publisher needs, made from a claimed row."""

from dataclasses import replace

from pydantic import ValidationError

from common.contracts.context import Context
from common.contracts.envelope import Envelope
from common.contracts.scheduler import MediaFile, PostContent, PostDue, PostFailed
from common.messaging.outbox import Outbox
from scheduler.domain.source_url import without_query
from scheduler.storage.claim import DuePost, FailureText
from scheduler.usecases.post_events import SERVICE

DEADLINE_PASSED = FailureText(
    code="deadline_passed",
    message="The post could not start before its publish_before time.",
    hint="Publish it again with a later deadline.",
)

INTERNAL_ERROR = FailureText(
    code="internal_error",
    message="The post could not be handed over for publishing because of a fault of ours; nothing was published.",
    hint="Create the post again; tell the operator if it fails again.",
)


def due_envelope(outbox: Outbox, post: DuePost, *, again: bool = False) -> Envelope:
    """Return the envelope of a claimed post: `PostDue`, or `PostFailed` when its deadline had passed.

    `again` marks the sweep's question about an attempt told before. Raises ValidationError when the row does not make an event.
    """
    context = Context.of_service(SERVICE, user_id=post.user_id, correlation_id=post.correlation_id)
    event = _due(post, again) if post.status != "failed" else _failed(post, DEADLINE_PASSED)
    return outbox.envelope(event, subject=str(post.id), context=context, sequence=post.version)


def broken_envelope(outbox: Outbox, post: DuePost) -> Envelope:
    """Return the `PostFailed` of a claimed post that made no event; it has been marked so and its attempt taken back."""
    event = _failed(replace(post, status="failed", attempt=post.attempt - 1), INTERNAL_ERROR)
    return outbox.envelope(
        event, subject=str(post.id), context=Context.of_service(SERVICE, user_id=post.user_id), sequence=post.version
    )


def broken_fields(error: ValidationError) -> list[str]:
    """Return which fields make no event, without what they hold: that is for logs."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    return [".".join(map(str, problem["loc"])) for problem in problems]


def _due(post: DuePost, again: bool) -> PostDue:
    return PostDue(
        again=again,
        dismissed_attempts=post.dismissed_attempts,
        post_id=post.id,
        account_id=post.account_id,
        status=post.status,
        attempt=post.attempt,
        scheduled_time=post.scheduled_time,
        user_id=post.user_id,
        due_at=post.due_at,
        publish_before=post.publish_before,
        mode=post.mode,
        transfer=post.transfer,
        content=PostContent(
            title=post.title,
            privacy_level=post.privacy_level,
            disable_comment=post.disable_comment,
            disable_duet=post.disable_duet,
            disable_stitch=post.disable_stitch,
            brand_content_toggle=post.brand_content_toggle,
            brand_organic_toggle=post.brand_organic_toggle,
            is_aigc=post.is_aigc,
            cover_timestamp_ms=post.cover_timestamp_ms,
            photo_title=post.photo_title,
            photo_cover_index=post.photo_cover_index or 0,
            auto_add_music=post.auto_add_music,
        ),
        media=_file(post),
        # As events may tell them; the publisher asks for what is left out.
        source_url=without_query(post.source_url) if post.source_url else None,
        photo_urls=[without_query(url) for url in post.photo_urls],
    )


def _file(post: DuePost) -> MediaFile | None:
    if post.file_id is None:
        return None
    return MediaFile(
        media_id=post.file_id,
        storage_key=post.storage_key,
        content_type=post.content_type,
        size_bytes=post.size_bytes,
        sha256=post.sha256,
        duration_ms=post.duration_ms,
    )


def _failed(post: DuePost, why: FailureText) -> PostFailed:
    return PostFailed(
        post_id=post.id,
        account_id=post.account_id,
        status=post.status,
        attempt=post.attempt,
        scheduled_time=post.scheduled_time,
        code=why.code,
        message=why.message,
        hint=why.hint,
    )
