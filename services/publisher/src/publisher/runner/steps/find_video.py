"""Looking for an attempt's video among the creator's public ones, where TikTok's status does not name it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from publisher.domain.matching import Candidate, Finding, Wanted, find, seen_far_enough
from publisher.runner.run import JobRun
from publisher.runner.steps.quota import counted
from publisher.storage import quotas, rivals
from publisher.storage.job import Job
from tiktok.videos import Video

PUBLIC = "PUBLIC_TO_EVERYONE"
MAX_PAGES = 5
"""So many pages of 20 are read; a creator who has posted more since cannot be searched with certainty."""


async def find_video(run: JobRun) -> Finding | None:
    """Return what the list tells; None where it can tell nothing. Raises CallFailed, QuotaUsedUp, LeaseLost.

    It can when the post went out as public, has a caption of ours, and the grant has the scope `video.list`.
    """
    wanted, open_id = wanted_of(run.job), run.job.open_id
    if wanted is None or open_id is None or run.job.privacy_level != PUBLIC:
        return None
    listed = await _list(run, wanted)
    if listed is None:
        return None
    videos, is_whole = listed
    async with run.database.read() as connection:
        others = await rivals.unsettled(connection, run.job.account_id, open_id, but=run.job.id, about=wanted.handed_over_at)
        taken = await rivals.taken(connection, [video.id for video in videos], open_id, but=run.job)
    known = [rival for other in others or () if (rival := wanted_of(other)) is not None]
    return find(wanted, videos, rivals=known, taken=taken, is_whole=is_whole and others is not None)


def wanted_of(job: Job) -> Wanted | None:
    """Return what the job's video looks like; None for a draft, whose caption is its creator's, and for what never went out."""
    content, handed_over_at = job.post.content, job.checkpoint.irrevocable_since
    captions = tuple(text for text in (content.title, content.photo_title) if text)
    if job.post.mode != "direct" or not captions or handed_over_at is None:
        return None
    media = job.media
    return Wanted(job.id, captions, media.duration_ms if media is not None else None, handed_over_at)


def candidate_of(video: Video) -> Candidate:
    """Return a video as it is compared."""
    created_at = None if video.create_time is None else datetime.fromtimestamp(video.create_time, UTC)
    texts = tuple(text for text in (video.title, video.video_description) if text)
    return Candidate(video.id, created_at, texts, video.duration)


async def _list(run: JobRun, wanted: Wanted) -> tuple[Sequence[Candidate], bool] | None:
    """Return the newest public videos, and whether these are all since the post was handed over; None when they are not shown."""
    videos: list[Candidate] = []
    cursor: int | None = None
    for _ in range(MAX_PAGES):
        page = await run.tools.tiktok.videos(run.job.account_id, cursor, counted(run, quotas.of_video_list(run.job)))
        if page is None:
            return None
        videos += [candidate_of(video) for video in page.videos]
        if not page.has_more or (videos and seen_far_enough(wanted, videos[-1])):
            return videos, True
        cursor = page.cursor
    return videos, False
