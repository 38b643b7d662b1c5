"""Caps and bans that only the status of a failed attempt tells: they are learned in the transaction that ends it."""

from common.database import Connection
from publisher.clients.tiktok_troubles import CODE_PREFIX
from publisher.domain.outcomes import Fail
from publisher.domain.tiktok_limits import Caps
from publisher.metrics import ACCOUNTS_HELD, REFUSED_LIMITS
from publisher.storage import account_holds, quotas
from publisher.storage.job import Job
from publisher.storage.quotas import Ask
from tiktok.failures import failure_of

LEARNED_SECONDS = 60.0
"""How long a limit rests when TikTok does not say."""


def cap_of(job: Job, caps: Caps, code: str) -> Ask | None:
    """Return the cap per day that a code of ours says is used up, None for any other code."""
    match code.removeprefix(CODE_PREFIX):
        case "spam_risk_too_many_posts" | "spam_risk_too_many_pending_share":
            return quotas.of_day(job, caps)
        case "reached_active_user_cap":
            return quotas.of_creators(job, caps)
        case _:
            return None


async def learn_from_end(connection: Connection, job: Job, caps: Caps, end: Fail) -> None:
    """Let the cap rest, or hold the account, that made this attempt fail; any other failure teaches nothing.

    The other posts of the account then wait, where each would cost itself an attempt.
    """
    cap = cap_of(job, caps, end.reason.code)
    if cap is not None:
        REFUSED_LIMITS.labels(cap.limit.name).inc()
        await quotas.learn(connection, cap, end.retry_after or LEARNED_SECONDS)
    elif end.reason.code.startswith(CODE_PREFIX) and failure_of(end.reason.code.removeprefix(CODE_PREFIX)).awaits_person:
        ACCOUNTS_HELD.labels(end.reason.code).inc()
        await account_holds.put(connection, job.account_id, job.post.mode, end.reason, looked=False)
