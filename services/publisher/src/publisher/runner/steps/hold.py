"""Posts of an account of which TikTok takes nothing (banned, a permission lost, the app not audited) wait together."""

from publisher.domain.outcomes import Defer
from publisher.domain.troubles import Trouble
from publisher.metrics import ACCOUNTS_HELD
from publisher.runner.run import JobRun
from publisher.storage import account_holds

LOOK_SELF_SECONDS = 300.0
"""How long a held job sleeps at most, should it miss that the hold is over."""


async def held_back(run: JobRun) -> Defer | None:
    """Return why the job's account cannot publish in this mode, None when nothing is known or it is time to look again."""
    async with run.database.read() as connection:
        hold = await account_holds.find(connection, run.job.account_id, run.job.post.mode)
    return None if hold is None or hold.look_in == 0 else _wait(hold)


async def look_again(run: JobRun) -> Defer | None:
    """Let this job try for all that are held, where there is a hold; the others wait. None when it may go on.

    The hold ends with the first init that TikTok accepts (`JobRun.store`).
    """
    async with run.database.transaction() as tx:
        hold = await account_holds.find(tx.connection, run.job.account_id, run.job.post.mode)
        if hold is None:
            return None
        run.looks_for_held = await account_holds.take_look(tx.connection, run.job.account_id, run.job.post.mode)
    return None if run.looks_for_held else _wait(hold)


async def hold_back(run: JobRun, trouble: Trouble) -> Defer:
    """Hold the account after a refusal that is not about this post; returns the wait of this one.

    The beginning of a hold is news, also when this post told of the same refusal before: in between the hold was over, and whoever
    shows the account's state takes the refusal to be over, too.
    """
    ACCOUNTS_HELD.labels(trouble.reason.code).inc()
    account_id, mode = run.job.account_id, run.job.post.mode
    async with run.database.transaction() as tx:
        is_news = await account_holds.find(tx.connection, account_id, mode) is None
        seconds = await account_holds.put(tx.connection, account_id, mode, trouble.reason, looked=run.looks_for_held)
    return Defer(seconds, trouble.reason, for_account=True, is_news=is_news)


def _wait(hold: account_holds.Hold) -> Defer:
    return Defer(min(max(hold.look_in, 1.0), LOOK_SELF_SECONDS), hold.reason, for_account=True)
