"""Token, checks, init: up to the stored publish_id. Which checks and which init depends on mode and transfer."""

from publisher.clients.accounts import Access
from publisher.domain.job import Step, Transfer
from publisher.domain.outcomes import Fail, Reason
from publisher.domain.troubles import before_anything_sent
from publisher.errors import CallFailed
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.account import access_of
from publisher.runner.steps.creator import check_creator
from publisher.runner.steps.init_file import init_file
from publisher.runner.steps.media_file import check_media
from publisher.runner.steps.quota import await_turn

NOT_SUPPORTED = Fail(
    Reason("not_supported", "This way of publishing is not available yet.", "Upload the video and publish it directly."),
    retryable=False,
)


async def prepare(run: JobRun) -> Outcome | None:
    """Bring the job to a stored init; None when that is done, else why it waits or ended. Raises LeaseLost."""
    post = run.job.post
    if run.job.checkpoint.transfer is not Transfer.FILE or post.media is None:
        return NOT_SUPPORTED
    wait = await await_turn(run)
    if wait is not None:
        return wait
    access = await access_of(run)
    if not isinstance(access, Access):
        return access
    await run.store({"step": Step.CREATOR_INFO.value, "open_id": access.open_id, "username": access.username})
    try:
        refusal = await check_media(run) or (await check_creator(run, access) if post.mode == "direct" else None)
    except CallFailed as failed:
        return before_anything_sent(failed.trouble, run.job.checkpoint.deferrals)
    return refusal or await init_file(run, access)
