"""An init that was never answered: whether one of the publications that TikTok told of by webhook is the one it made."""

from collections.abc import Sequence

import structlog

from publisher.domain.following import verdict
from publisher.domain.job import Step, Transfer
from publisher.domain.matching import CLOCKS_DIFFER, PUBLISHED_WITHIN, contradicts, says
from publisher.domain.outcomes import Defer, Succeed
from publisher.runner.run import JobRun
from publisher.runner.steps.find_video import PUBLIC, candidate_of, wanted_of
from publisher.runner.steps.status import fetch
from publisher.storage import rivals
from publisher.storage.job import Job
from publisher.storage.rivals import Unclaimed

TYPES = {"direct": "DIRECT_PUBLISH", "inbox": "INBOX_SHARE"}

_log = structlog.get_logger(__name__)


async def adopt(run: JobRun) -> Defer | None:
    """Give the job the publication that can only be its own, if TikTok's status says that something came of it.

    Only when exactly one publication of the creator is nobody's, of this kind and of that time, and no other attempt may have made
    it; and not when its video is public and says something else, nor, of a public post, as long as the video that could be seen is
    not shown. Returns the wait for the quota of the status where TikTok could not be asked. Raises CallFailed, LeaseLost.
    """
    publish_id = await _the_only_one(run)
    if publish_id is None:
        return None
    seen = await fetch(run, publish_id)
    if isinstance(seen, Defer):
        return seen
    if not isinstance(verdict(seen), Succeed):
        return None
    if not await _may_be_its_own(run, seen.post_ids[:1]):
        _log.warning("unclaimed_publication_does_not_say_the_same", publish_id=publish_id)
        return None
    await run.store({"publish_id": publish_id})
    return None


async def _may_be_its_own(run: JobRun, video_ids: Sequence[str]) -> bool:
    """Whether what can be seen of a publication is what the job's would show."""
    wanted = wanted_of(run.job)
    if wanted is None:
        return True
    videos = await run.tools.tiktok.query_videos(run.job.account_id, video_ids, run.check_send)
    if not videos:
        # Nothing to see, be it private or the grant too small, is no contradiction; what is to come is waited for.
        return videos is None or run.job.privacy_level != PUBLIC
    return all(says(wanted.captions, candidate_of(video).texts) for video in videos)


async def _the_only_one(run: JobRun) -> str | None:
    job, asked_at = run.job, run.job.checkpoint.irrevocable_since
    is_lost = job.publish_id is None and job.checkpoint.step is Step.INIT_INTENDED
    if not is_lost or job.checkpoint.transfer is Transfer.FILE or job.open_id is None or asked_at is None:
        return None
    async with run.database.read() as connection:
        if await rivals.nameless(connection, job.account_id, job.open_id, about=asked_at) != [job.id]:
            return None
        found = await rivals.unclaimed(connection, job.open_id, since=asked_at - CLOCKS_DIFFER)
    fitting = [one for one in found if _fits(one, job) and one.told_at <= asked_at + PUBLISHED_WITHIN]
    return fitting[0].publish_id if len(fitting) == 1 else None


def _fits(publication: Unclaimed, job: Job) -> bool:
    is_other_kind = contradicts(publication.publish_id, job.checkpoint.transfer, job.post.mode)
    return publication.publish_type in {None, TYPES[job.post.mode]} and not is_other_kind
