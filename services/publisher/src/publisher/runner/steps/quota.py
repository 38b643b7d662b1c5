"""TikTok's limits per minute and creator: one call is taken before it is made."""

from publisher.domain.outcomes import Defer, Reason
from publisher.runner.run import JobRun
from publisher.storage import quotas


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
