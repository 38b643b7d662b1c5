"""The whole addresses of a post's video or photos, asked for just before they are used."""

from publisher.clients.scheduler import Addresses
from publisher.domain.outcomes import Defer, Fail
from publisher.domain.troubles import before_anything_sent
from publisher.errors import CallFailed
from publisher.runner.run import JobRun


async def addresses_of(run: JobRun) -> Addresses | Defer | Fail:
    """Return them, or why the job waits or ends. Nothing has been sent yet."""
    try:
        return await run.tools.scheduler.addresses(run.job.post_id)
    except CallFailed as failed:
        return before_anything_sent(failed.trouble, run.job.checkpoint.deferrals)
