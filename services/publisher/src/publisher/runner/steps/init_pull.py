"""The init of a video that TikTok fetches from its address, as a post or as a draft."""

from publisher.clients.accounts import Access
from publisher.clients.scheduler import Addresses
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.addresses import addresses_of
from publisher.runner.steps.init_once import init_once
from publisher.runner.steps.post_info import post_info
from tiktok.models import PullSource


async def init_pull(run: JobRun, access: Access) -> Outcome:
    """Make the init; returns what it means for the job. Raises LeaseLost."""
    addresses = await addresses_of(run)
    if not isinstance(addresses, Addresses):
        return addresses
    source = PullSource(addresses.source_url or "")
    tiktok, account_id = run.tools.tiktok, run.job.account_id
    if run.job.post.mode == "inbox":
        return await init_once(run, lambda tries: tiktok.pull_inbox(account_id, access, source, tries))
    info = post_info(run)
    return await init_once(run, lambda tries: tiktok.pull_video(account_id, access, info, source, tries))
