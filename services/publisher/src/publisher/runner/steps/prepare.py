"""Token, checks, init: up to the stored publish_id. Which checks and which init depends on mode and transfer."""

from collections.abc import Awaitable, Callable

from publisher.clients.accounts import Access
from publisher.domain.job import Step, Transfer
from publisher.errors import CallFailed
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.account import access_of
from publisher.runner.steps.creator import check_creator
from publisher.runner.steps.hold import held_back, look_again
from publisher.runner.steps.init_file import init_file
from publisher.runner.steps.init_photo import init_photo
from publisher.runner.steps.init_pull import init_pull
from publisher.runner.steps.media_file import check_media
from publisher.runner.steps.quota import await_turn
from publisher.runner.steps.refusal import after_refusal
from publisher.storage import quotas

_INITS: dict[Transfer, Callable[[JobRun, Access], Awaitable[Outcome | None]]] = {
    Transfer.FILE: init_file,
    Transfer.PULL: init_pull,
    Transfer.PHOTO: init_photo,
}


async def prepare(run: JobRun) -> Outcome | None:
    """Bring the job to a stored init; None when bytes are to follow, else how it goes on, waits or ended. Raises LeaseLost."""
    wait = await held_back(run) or await await_turn(run) or await look_again(run)
    if wait is not None:
        return wait
    access = await access_of(run)
    if not isinstance(access, Access):
        return access
    await run.store({"step": Step.CREATOR_INFO.value, "open_id": access.open_id, "username": access.username})
    try:
        refusal = await _check(run, access)
    except CallFailed as failed:
        return await after_refusal(run, failed.trouble, quotas.of_creator_info(run.job))
    return refusal or await _INITS[run.job.checkpoint.transfer](run, access)


async def _check(run: JobRun, access: Access) -> Outcome | None:
    """Return what speaks against the post before its init. Creator info is about direct posts: drafts do without."""
    refusal = await check_media(run) if run.job.checkpoint.transfer is Transfer.FILE else None
    if refusal is not None or run.job.post.mode == "inbox":
        return refusal
    return await check_creator(run, access)
