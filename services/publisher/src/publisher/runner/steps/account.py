"""The account of a job: its token, and whether it may publish now."""

from publisher.clients.accounts import Access
from publisher.domain.outcomes import Defer, Fail, Reason
from publisher.domain.troubles import Trouble, TroubleKind, before_anything_sent
from publisher.errors import CallFailed
from publisher.runner.run import JobRun
from publisher.storage import accounts

ACCOUNT_PAUSED = Trouble(
    TroubleKind.ACCOUNT_WAITS,
    Reason("account_paused", "The TikTok account is paused; its posts wait.", "Set the account to active again."),
)
PAUSED = "inactive"


async def access_of(run: JobRun) -> Access | Defer | Fail:
    """Return a token of the job's account, or why the job has to wait for its account or ends. Nothing has been sent yet."""
    try:
        access = await run.tools.accounts.access(run.job.account_id)
    except CallFailed as failed:
        return before_anything_sent(failed.trouble, run.job.checkpoint.deferrals)
    return before_anything_sent(ACCOUNT_PAUSED, run.job.checkpoint.deferrals) if access.status == PAUSED else access


async def account_away(run: JobRun) -> Defer | Fail | None:
    """Return why a job that has been prepared has to wait for its account after all, or ends; None while nothing was heard.

    An event only gives reason to ask: it may be older than what accounts knows.
    """
    async with run.database.read() as connection:
        if not await accounts.is_away(connection, run.job.account_id):
            return None
    access = await access_of(run)
    return None if isinstance(access, Access) else access
