"""The init of a file, as a post or as a draft: TikTok gives an address to upload to.

Nothing is published or delivered before the last byte has arrived.
"""

from typing import Any

from publisher.clients.accounts import Access
from publisher.domain.job import Step
from publisher.errors import CallFailed, HandedBack, QuotaUsedUp
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.creator import privacy_level
from publisher.runner.steps.init_gate import enter_init
from publisher.runner.steps.init_tries import InitTries
from publisher.runner.steps.post_info import post_info
from publisher.runner.steps.refusal import after_init, after_put_off
from tiktok.chunks import plan_chunks
from tiktok.models import FileSource, VideoInit


async def init_file(run: JobRun, access: Access) -> Outcome | None:
    """Make the init and store its answer; None when that is done, else why it waits or ended. Raises LeaseLost."""
    refusal = await enter_init(run)
    if refusal is not None:
        return refusal
    intent = {
        "step": Step.INIT_INTENDED.value,
        "publish_id": None,
        "init_log_id": None,
        "upload_url": None,
        "upload_expires_at": None,
        "upload_ended_at": None,
        "upload_ended_code": None,
        "last_chunk_intended": False,
        "sent_privacy_level": privacy_level(run),
    }
    tries = InitTries(run, intent)
    await tries.intend()
    intended_at = run.clock.now()
    try:
        started = await _call(run, access, tries)
    except CallFailed as failed:
        return await after_init(run, failed.trouble)
    except (QuotaUsedUp, HandedBack) as put_off:
        return await after_put_off(run, put_off)
    run.tools.crash.reach("after_init_answer")
    answer: dict[str, Any] = {
        "step": Step.INIT_DONE.value,
        "publish_id": started.publish_id,
        "init_log_id": started.log_id,
        "upload_url": run.tools.addresses.seal(started.upload_url),
        "upload_expires_at": intended_at + run.tools.limits.upload_url,
        "sent_bytes": 0,
        "deferrals": 0,
        "reason": None,
    }
    await run.store(answer)
    return None


async def _call(run: JobRun, access: Access, tries: InitTries) -> VideoInit:
    source = FileSource(plan_chunks(run.job.checkpoint.total_bytes))
    if run.job.post.mode == "inbox":
        return await run.tools.tiktok.init_inbox(run.job.account_id, access, source, tries)
    return await run.tools.tiktok.init_video(run.job.account_id, access, post_info(run), source, tries)
