"""The file of a post in object storage: is it there, and is it still the one the post was made with."""

from publisher.clients.media_store import MediaMissing, MediaUnavailable
from publisher.domain.backoff import defer_wait
from publisher.domain.missing_media import missing
from publisher.domain.outcomes import Defer, Reason
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun


async def check_media(run: JobRun) -> Outcome | None:
    """Return why the file cannot be sent, None when it is there with its size."""
    media = run.job.media
    gone = missing(is_fetched=run.job.fetched is not None)
    try:
        size = None if media is None else await run.tools.media.size(media.storage_key)
    except MediaMissing:
        return gone
    except MediaUnavailable:
        return storage_away(run)
    return None if size == run.job.checkpoint.total_bytes else gone


def storage_away(run: JobRun) -> Defer:
    """Return the wait for object storage."""
    reason = Reason("storage_unavailable", "The media storage does not answer.", "The operator may check STORAGE_URL.")
    return Defer(defer_wait(run.job.checkpoint.deferrals), reason)
