"""The file of a post in object storage: is it there, and is it still the one the post was made with."""

from publisher.clients.media_store import MediaMissing, MediaUnavailable
from publisher.domain.backoff import defer_wait
from publisher.domain.outcomes import Defer, Fail, Reason
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun

MEDIA_MISSING = Fail(
    Reason("media_missing", "The file of this post is gone or has changed.", "Upload it again and create a new post."),
    retryable=False,
)
FETCHED_MISSING = Fail(
    Reason("fetched_file_missing", "The copy of the video that was fetched from its address is gone; nothing was published."),
    retryable=True,
)
"""The next attempt fetches it anew; this one may send no other bytes than those it has noted the sha256 of."""


async def check_media(run: JobRun) -> Outcome | None:
    """Return why the file cannot be sent, None when it is there with its size."""
    media = run.job.media
    missing = MEDIA_MISSING if run.job.fetched is None else FETCHED_MISSING
    try:
        size = None if media is None else await run.tools.media.size(media.storage_key)
    except MediaMissing:
        return missing
    except MediaUnavailable:
        return storage_away(run)
    return None if size == run.job.checkpoint.total_bytes else missing


def storage_away(run: JobRun) -> Defer:
    """Return the wait for object storage."""
    reason = Reason("storage_unavailable", "The media storage does not answer.", "The operator may check STORAGE_URL.")
    return Defer(defer_wait(run.job.checkpoint.deferrals), reason)
