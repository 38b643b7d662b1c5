"""Token, creator info, init: up to the stored publish_id. Nothing is published here as long as it is a file."""

from typing import Any

from publisher.clients.accounts import Access
from publisher.clients.media_store import MediaMissing, MediaUnavailable
from publisher.domain import preflight
from publisher.domain.backoff import defer_wait
from publisher.domain.job import Step, Transfer
from publisher.domain.outcomes import Defer, Fail, Reason
from publisher.domain.takeover import DEADLINE_PASSED
from publisher.domain.troubles import Trouble, TroubleKind, after_init_trouble, before_anything_sent
from publisher.errors import CallFailed
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.storage import accounts, creator_infos, quotas
from tiktok.chunks import plan_chunks
from tiktok.models import CreatorInfo, FileSource, PostInfo

NOT_SUPPORTED = Fail(
    Reason("not_supported", "This way of publishing is not available yet.", "Upload the video and publish it directly."),
    retryable=False,
)
MEDIA_MISSING = Fail(
    Reason("media_missing", "The file of this post is gone or has changed.", "Upload it again and create a new post."),
    retryable=False,
)
ACCOUNT_PAUSED = Trouble(
    TroubleKind.ACCOUNT_WAITS,
    Reason("account_paused", "The TikTok account is paused; its posts wait.", "Set the account to active again."),
)
PAUSED = "inactive"
PRIVATE = "SELF_ONLY"


async def prepare(run: JobRun) -> Outcome | None:
    """Bring the job to a stored init; None when that is done, else why it waits or ended."""
    post = run.job.post
    if run.job.checkpoint.transfer is not Transfer.FILE or post.media is None or post.mode != "direct":
        return NOT_SUPPORTED
    try:
        access = await run.tools.accounts.access(post.account_id)
        if access.status == PAUSED:
            return before_anything_sent(ACCOUNT_PAUSED, run.job.checkpoint.deferrals)
        known = {"step": Step.CREATOR_INFO.value, "open_id": access.open_id, "username": access.username}
        await run.store(known)
        refusal = await _check_media(run) or await _check_creator(run, access)
    except CallFailed as failed:
        return before_anything_sent(failed.trouble, run.job.checkpoint.deferrals)
    return refusal or await _init(run, access)


async def account_away(run: JobRun) -> Outcome | None:
    """Return why a job that has been prepared has to wait for its account after all, or ends; None while nothing was heard.

    An event only gives reason to ask: it may be older than what accounts knows.
    """
    async with run.tools.database.read() as connection:
        if not await accounts.is_away(connection, run.job.account_id):
            return None
    try:
        access = await run.tools.accounts.access(run.job.account_id)
    except CallFailed as failed:
        return before_anything_sent(failed.trouble, run.job.checkpoint.deferrals)
    return before_anything_sent(ACCOUNT_PAUSED, run.job.checkpoint.deferrals) if access.status == PAUSED else None


async def _check_media(run: JobRun) -> Outcome | None:
    media = run.job.post.media
    try:
        size = None if media is None else await run.tools.media.size(media.storage_key)
    except MediaMissing:
        return MEDIA_MISSING
    except MediaUnavailable:
        return storage_away(run)
    return None if size == run.job.checkpoint.total_bytes else MEDIA_MISSING


async def _check_creator(run: JobRun, access: Access) -> Outcome | None:
    post, database = run.job.post, run.tools.database
    async with database.read() as connection:
        known = await creator_infos.fresh(connection, post.account_id, run.tools.limits.creator_info)
    if known is None:
        wait = await wait_for_quota(run, access.open_id, quotas.CREATOR_INFO)
        if wait is not None:
            return wait
        info = await run.tools.tiktok.creator_info(post.account_id, access, run.lease.check)
        async with database.transaction() as tx:
            await creator_infos.keep(tx.connection, post.account_id, info.model_dump(mode="json"))
    else:
        info = CreatorInfo.model_validate(known)
    return preflight.check(
        privacy_level=_privacy(run),
        privacy_options=info.privacy_level_options,
        duration_ms=post.media.duration_ms if post.media is not None else None,
        max_duration_seconds=info.max_video_post_duration_sec,
    )


async def _init(run: JobRun, access: Access) -> Outcome | None:
    wait = await wait_for_quota(run, access.open_id, quotas.INIT)
    if wait is not None:
        return wait
    if run.clock.now() > run.job.checkpoint.publish_before:
        return DEADLINE_PASSED
    intent = {"step": Step.INIT_INTENDED.value, "publish_id": None, "upload_url": None, "upload_expires_at": None}
    await run.store(intent, event=run.resumed())
    run.tools.crash.reach("after_init_intent")
    intended_at = run.clock.now()
    try:
        started = await run.tools.tiktok.init_video(
            run.job.post.account_id,
            access,
            _post_info(run),
            FileSource(plan_chunks(run.job.checkpoint.total_bytes)),
            run.lease.check,
        )
    except CallFailed as failed:
        return after_init_trouble(run.job.checkpoint.transfer, failed.trouble, run.job.checkpoint.deferrals)
    run.tools.crash.reach("after_init_answer")
    answer: dict[str, Any] = {
        "step": Step.INIT_DONE.value,
        "publish_id": started.publish_id,
        "upload_url": started.upload_url,
        "upload_expires_at": intended_at + run.tools.limits.upload_url,
        "sent_bytes": 0,
        "deferrals": 0,
        "reason": None,
    }
    await run.store(answer)
    return None


async def wait_for_quota(run: JobRun, open_id: str, limit: quotas.Limit) -> Defer | None:
    """Take one call of the creator's quota; returns how long to wait when there is none left."""
    async with run.tools.database.transaction() as tx:
        wait = await quotas.take(tx.connection, open_id, limit)
    if wait is None:
        return None
    reason = Reason(
        "tiktok_quota",
        f"TikTok allows {limit.per_minute} such calls per minute and creator.",
        "Nothing to do; it goes on by itself.",
    )
    return Defer(wait, reason)


def storage_away(run: JobRun) -> Defer:
    """Return the wait for object storage."""
    reason = Reason("storage_unavailable", "The media storage does not answer.", "The operator may check STORAGE_URL.")
    return Defer(defer_wait(run.job.checkpoint.deferrals), reason)


def _privacy(run: JobRun) -> str | None:
    return PRIVATE if run.tools.limits.sandbox else run.job.post.content.privacy_level


def _post_info(run: JobRun) -> PostInfo:
    content = run.job.post.content
    return PostInfo(
        privacy_level=_privacy(run) or "",
        title=content.title or None,
        disable_comment=content.disable_comment,
        disable_duet=content.disable_duet,
        disable_stitch=content.disable_stitch,
        video_cover_timestamp_ms=content.cover_timestamp_ms,
        brand_content_toggle=content.brand_content_toggle,
        brand_organic_toggle=content.brand_organic_toggle,
        is_aigc=content.is_aigc,
    )
