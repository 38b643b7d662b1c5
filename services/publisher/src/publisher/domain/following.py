"""What TikTok's status means: for a job whose bytes are all in, and for one that wants to know where to go on sending."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.domain.backoff import defer_wait, poll_wait
from publisher.domain.job import Checkpoint
from publisher.domain.missing_media import FETCHED_MISSING, MEDIA_MISSING
from publisher.domain.outcomes import Cancel, Defer, End, Fail, Look, Reason, Resume, Submitted, Succeed, Unconfirm
from publisher.domain.takeover import DEADLINE_PASSED
from publisher.domain.unknown_outcome import LOOK_AND_WAIT

STATUS_NEVER_ENDED = Reason(
    "status_never_ended",
    "TikTok received the post but did not say in time whether it was published.",
    LOOK_AND_WAIT,
)

UPLOAD_UNAVAILABLE = Reason(
    "tiktok_upload_unavailable", "TikTok does not accept the bytes at the moment.", "Nothing to do; it is tried again."
)

UPLOAD_UNKNOWN = "upload_unknown"
"""The code of an upload that TikTok no longer knows, or refuses although it may be complete."""

MAX_LOST_IN_A_ROW = 3
"""Lost answers without progress; then the job waits instead of sending the same bytes on and on."""


def _upload_end(code: str, why: str, *, retryable: bool) -> Fail:
    return Fail(Reason(code, f"{why}, so nothing was published."), retryable=retryable)


_UPLOAD_ENDS = {
    end.reason.code: end
    for end in (
        _upload_end("upload_expired", "TikTok's upload address ended before all bytes had arrived", retryable=True),
        _upload_end(UPLOAD_UNKNOWN, "TikTok no longer knows this upload", retryable=True),
        _upload_end("upload_rejected", "TikTok did not accept the bytes of this file", retryable=False),
        MEDIA_MISSING,
        FETCHED_MISSING,
    )
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A status answer. `failure` is what a FAILED status means, decided by the table of fail reasons; `log_id` is TikTok's."""

    status: str
    post_ids: tuple[str, ...] = ()
    uploaded_bytes: int | None = None
    failure: Fail | None = None
    log_id: str | None = None


def verdict(seen: Seen) -> Succeed | Fail | None:
    """Return the end that the status tells, None while there is none; a status not known yet is no end."""
    match seen.status:
        case "PUBLISH_COMPLETE":
            return Succeed("published", seen.post_ids, log_id=seen.log_id)
        case "SEND_TO_USER_INBOX":
            return Succeed("sent_to_inbox", seen.post_ids, log_id=seen.log_id)
        case "FAILED":
            unexplained = Reason("tiktok_failed", "TikTok did not publish the post.", log_id=seen.log_id)
            return seen.failure or Fail(unexplained, retryable=False)
        case _:
            return None


def after_poll(checkpoint: Checkpoint, seen: Seen, now: datetime, *, give_up: timedelta) -> End | Look:
    """Return what a status means for a job whose bytes are all in; after `give_up` without an end it is unconfirmed."""
    end = verdict(seen)
    if end is not None:
        # What was to be stopped and failed is stopped: nobody wants it tried again.
        return Cancel() if checkpoint.cancel_wanted and isinstance(end, Fail) else end
    if now - (checkpoint.submitted_at or checkpoint.irrevocable_since or now) >= give_up:
        return Unconfirm(STATUS_NEVER_ENDED)
    return Look(poll_wait(checkpoint.polls))


def after_resync(
    checkpoint: Checkpoint,
    seen: Seen,
    chunk_starts: tuple[int, ...],
    now: datetime,
    *,
    stuck: int,
    lost: int,
    settle: timedelta,
    give_up: timedelta,
) -> End | Look | Defer | Submitted | Resume:
    """Return how a job goes on whose bytes are partly out.

    `stuck` counts refusals (416) and `lost` lost answers in a row without progress at the offset TikTok names. An upload
    address that ended with bytes missing proves that nothing was published: at once when the last chunk never left, else when
    TikTok refused its only try and still misses bytes after `settle`. Where an earlier try may have brought it there, neither a
    refusal nor the end of the hour nor missing bytes prove anything: TikTok's count may be late. While TikTok has no byte,
    nothing has begun, so the deadline holds.
    """
    end = verdict(seen)
    if end is not None:
        return end
    offset = resume_offset(seen.uploaded_bytes, checkpoint, chunk_starts, exact=stuck == 1)
    if offset >= checkpoint.total_bytes:
        return Submitted()
    if upload_is_over(checkpoint, now, settle=settle):
        return _after_upload_ended(checkpoint, seen, now, settle=settle, give_up=give_up)
    if offset == 0 and checkpoint.cannot_have_published and now > checkpoint.publish_before:
        return DEADLINE_PASSED
    if stuck > 1 or lost >= MAX_LOST_IN_A_ROW:
        return Defer(defer_wait(checkpoint.deferrals), UPLOAD_UNAVAILABLE)
    return Resume(offset)


def upload_is_over(checkpoint: Checkpoint, now: datetime, *, settle: timedelta) -> bool:
    """Return whether nothing more can be sent to the upload address: that is stored, or its hour passed more than `settle` ago."""
    expires_at = checkpoint.upload_expires_at
    return checkpoint.upload_ended_at is not None or (expires_at is not None and now >= expires_at + settle)


def _after_upload_ended(
    checkpoint: Checkpoint, seen: Seen, now: datetime, *, settle: timedelta, give_up: timedelta
) -> Fail | Look | Unconfirm:
    code, ended_at = checkpoint.upload_ended_code or "upload_expired", checkpoint.upload_ended_at
    if not checkpoint.cannot_have_published:
        if ended_at is None or seen.uploaded_bytes is None or code == UPLOAD_UNKNOWN:
            since = checkpoint.irrevocable_since or now
            return Unconfirm(STATUS_NEVER_ENDED) if now - since >= give_up else Look(poll_wait(checkpoint.polls))
        if now - ended_at < settle:
            return Look(poll_wait(checkpoint.polls))
    return _UPLOAD_ENDS[code]


def resume_offset(uploaded: int | None, checkpoint: Checkpoint, chunk_starts: tuple[int, ...], *, exact: bool) -> int:
    """Return the byte to go on with.

    A broken chunk stores nothing, so the offset is the start of a chunk: TikTok's number itself, the next start when it
    names the last index instead of a count, else the start of the chunk it lies in; with `exact` TikTok's number as it is.
    """
    if uploaded is None:
        return checkpoint.sent_bytes
    total = checkpoint.total_bytes
    if exact or uploaded in chunk_starts or uploaded >= total:
        return min(uploaded, total)
    if uploaded + 1 in chunk_starts or uploaded + 1 == total:
        return uploaded + 1
    return chunk_starts[bisect_right(chunk_starts, uploaded) - 1]
