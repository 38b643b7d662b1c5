"""Bringing a file from its address into storage, and checkpointing which bytes it is made of before anything is sent.

Until its sha256 is stored, a replica that takes over fetches anew; from then on the job sends these bytes or none. Nothing is
published here, so a deadline or a cancellation may end it at any moment.
"""

import asyncio

from common.contracts.scheduler import MediaFile
from publisher.clients.media_store import MediaUnavailable
from publisher.clients.scheduler import Addresses
from publisher.clients.source_fetch.download import Watch
from publisher.clients.source_fetch.fetcher import Fetched
from publisher.domain.job import Step
from publisher.domain.source_troubles import after_source_trouble, too_slow
from publisher.domain.source_url import host_of
from publisher.domain.takeover import deadline_passed
from publisher.domain.troubles import Trouble
from publisher.errors import CallFailed
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.account import account_away
from publisher.runner.steps.addresses import addresses_of
from publisher.runner.steps.media_file import storage_away


async def fetch(run: JobRun) -> Outcome | None:
    """Fetch the file and store its sha256; None when that is done, else why it waits or ended. Raises LeaseLost."""
    waits = await account_away(run)
    if waits is not None:
        return waits
    addresses = await addresses_of(run)
    if not isinstance(addresses, Addresses):
        return addresses
    try:
        await run.store({"step": Step.FETCHING.value, "streamed_bytes": 0, "total_bytes": 0})
        fetched = await _fetch(run, addresses.source_url or "")
    except CallFailed as failed:
        return after_source_trouble(failed.trouble, run.job.checkpoint.deferrals)
    except MediaUnavailable:
        return storage_away(run)
    if not isinstance(fetched, Fetched):
        return fetched
    run.tools.crash.reach("after_fetch")
    await _checkpoint(run, fetched)
    run.tools.crash.reach("after_fetch_stored")
    return None


async def _fetch(run: JobRun, url: str) -> Fetched | Outcome:
    left = (run.job.checkpoint.publish_before - run.clock.now()).total_seconds()
    try:
        async with asyncio.timeout(min(run.tools.limits.fetch.total_seconds(), max(left, 0.0))):
            return await run.tools.sources.fetch(url, run.job.id, run.lease.token, _watch(run))
    except TimeoutError:
        trouble: Trouble = too_slow(host_of(url))
    finally:
        run.lease.streamed = 0
    if run.clock.now() >= run.job.checkpoint.publish_before:
        return deadline_passed(trouble.reason.code)
    return after_source_trouble(trouble, run.job.checkpoint.deferrals)


def _watch(run: JobRun) -> Watch:
    async def begun(total: int | None) -> None:
        await run.store({"total_bytes": total or 0, "reason": None}, event=run.resumed())

    def received(size: int) -> None:
        run.lease.check()
        run.lease.streamed = size
        if size * 2 >= run.job.checkpoint.total_bytes > 0:
            run.tools.crash.reach("mid_fetch")

    return Watch(before_send=run.lease.check, begun=begun, received=received)


async def _checkpoint(run: JobRun, fetched: Fetched) -> None:
    """Store which bytes these are. When that fails they stay where they are: the checkpoint may have been stored all the same."""
    media = MediaFile(
        media_id=run.job.id,
        storage_key=fetched.key,
        content_type=fetched.content_type,
        size_bytes=fetched.size,
        sha256=fetched.sha256,
    )
    await run.store(
        {
            "step": Step.TOKEN.value,
            "fetched": media.to_data(),
            "total_bytes": fetched.size,
            "streamed_bytes": 0,
            "deferrals": 0,
            "reason": None,
        }
    )
