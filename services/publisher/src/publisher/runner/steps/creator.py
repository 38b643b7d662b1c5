"""What the creator may post now, by TikTok's creator info; asked once a minute for all jobs and replicas."""

from publisher.clients.accounts import Access
from publisher.domain import preflight
from publisher.errors import QuotaUsedUp
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.quota import counted
from publisher.storage import creator_infos, quotas
from tiktok.models import CreatorInfo


async def check_creator(run: JobRun, access: Access) -> Outcome | None:
    """Return why the creator cannot post this now, None when nothing speaks against it. Raises CallFailed, LeaseLost."""
    post, database = run.job.post, run.database
    async with database.read() as connection:
        known = await creator_infos.fresh(connection, post.account_id, run.tools.limits.creator_info)
    if known is None:
        before_send = counted(run, quotas.of_creator_info(run.job))
        try:
            info = await run.tools.tiktok.creator_info(post.account_id, access, before_send)
        except QuotaUsedUp as used_up:
            return used_up.wait
        async with database.transaction() as tx:
            await creator_infos.keep(tx.connection, post.account_id, info.model_dump(mode="json"))
    else:
        info = CreatorInfo.model_validate(known)
    if info.creator_username not in {"", run.job.username}:
        # Accounts knows the name that the link needs only where the grant shows it.
        await run.store({"username": info.creator_username})
    return preflight.check(
        privacy_level=privacy_level(run),
        privacy_options=info.privacy_level_options,
        duration_ms=run.job.media.duration_ms if run.job.media is not None else None,
        max_duration_seconds=info.max_video_post_duration_sec,
        is_branded=post.content.brand_content_toggle,
    )


def privacy_level(run: JobRun) -> str | None:
    """Return the privacy level the post goes out with: the one asked for, in sandbox mode always SELF_ONLY; a draft has none."""
    if run.job.post.mode == "inbox":
        return None
    return preflight.PRIVATE if run.tools.limits.sandbox else run.job.post.content.privacy_level
