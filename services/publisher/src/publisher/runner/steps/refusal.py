"""What follows when TikTok refuses a call before anything is out: a limit learns from it, an account is held, or a post ends."""

from publisher.clients.tiktok_troubles import CODE_PREFIX
from publisher.domain.job import Step
from publisher.domain.outcomes import Cancel, Defer, Fail, Look
from publisher.domain.troubles import Trouble, TroubleKind, after_init_trouble, before_anything_sent, may_have_published
from publisher.errors import HandedBack, QuotaUsedUp
from publisher.metrics import REFUSED_LIMITS
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.hold import hold_back
from publisher.runner.told_limits import LEARNED_SECONDS, cap_of
from publisher.storage import quotas
from publisher.storage.quotas import Ask


async def after_refusal(run: JobRun, trouble: Trouble, rate: Ask) -> Defer | Fail:
    """Return what follows trouble with a call that publishes nothing; `rate` is the limit that the call counted against."""
    ask = _limit_of(run, trouble, rate)
    if ask is not None:
        return await learn(run, trouble, ask)
    if trouble.kind is TroubleKind.ACCOUNT_WAITS and trouble.reason.code.startswith(CODE_PREFIX):
        return await hold_back(run, trouble)
    return before_anything_sent(trouble, run.job.checkpoint.deferrals)


async def after_init(run: JobRun, trouble: Trouble) -> Outcome:
    """Return what follows trouble with an init whose intent is stored.

    A refusal had no effect, and neither had what never left this machine: then the intent is taken back.
    """
    checkpoint = run.job.checkpoint
    if trouble.kind is TroubleKind.NO_VERDICT or may_have_published(checkpoint.transfer, trouble):
        return after_init_trouble(checkpoint.transfer, trouble, checkpoint.deferrals)
    if await take_back(run):
        return Cancel()
    return await after_refusal(run, trouble, quotas.of_init(run.job))


async def after_put_off(run: JobRun, put_off: QuotaUsedUp | HandedBack) -> Outcome:
    """Return what follows when an init had no effect, and is not made again now: its turn has to come, or the replica ends."""
    if await take_back(run):
        return Cancel()
    return put_off.wait if isinstance(put_off, QuotaUsedUp) else Look(0.0)


async def take_back(run: JobRun) -> bool:
    """Take back the intent of an init that had no effect; returns whether a person wants the job stopped."""
    await run.store({"step": Step.CREATOR_INFO.value, "irrevocable_since": None})
    return run.job.checkpoint.cancel_wanted


async def learn(run: JobRun, trouble: Trouble, ask: Ask) -> Defer:
    """Let a limit rest that is used up although it was not counted so; returns the wait, in which the job keeps its place."""
    seconds = trouble.wait or LEARNED_SECONDS
    REFUSED_LIMITS.labels(ask.limit.name).inc()
    async with run.database.transaction() as tx:
        await quotas.learn(tx.connection, ask, seconds)
    return Defer(seconds, trouble.reason, awaits=ask.limit.name)


def _limit_of(run: JobRun, trouble: Trouble, rate: Ask) -> Ask | None:
    if trouble.kind is not TroubleKind.BUSY:
        return None
    return cap_of(run.job, run.tools.limits.caps, trouble.reason.code) or rate
