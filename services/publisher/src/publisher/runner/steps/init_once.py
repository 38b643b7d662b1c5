"""The init of what TikTok fetches itself: it publishes from this call alone, so it is made once and never repeated.

From the stored intent on, nothing but TikTok's answer tells whether it ran. Where no answer says that it did not, the attempt is
`unconfirmed`, and the next replica finds it so.
"""

from collections.abc import Awaitable, Callable

from publisher.domain.job import Step
from publisher.domain.outcomes import Look, Submitted
from publisher.errors import CallFailed, QuotaUsedUp
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.creator import privacy_level
from publisher.runner.steps.init_gate import enter_init
from publisher.runner.steps.refusal import after_init, after_refused_token
from tiktok.models import PullInit


async def init_once(run: JobRun, call: Callable[[], Awaitable[PullInit]]) -> Outcome:
    """Make the init and return what it means for the job. Raises LeaseLost.

    When TikTok refused it, or nothing of it left this machine, the intent is taken back: the job may be cancelled, and the init
    made again, as if it had not been tried.
    """
    if run.stopping:
        # Broken off while TikTok answers, it would be lost: whoever comes next makes it.
        return Look(0.0)
    refusal = await enter_init(run)
    if refusal is not None:
        return refusal
    intent = {
        "step": Step.INIT_INTENDED.value,
        "publish_id": None,
        "init_log_id": None,
        "irrevocable_since": run.clock.now(),
        "sent_privacy_level": privacy_level(run),
    }
    await run.store(intent, event=run.resumed())
    run.tools.crash.reach("after_init_intent")
    try:
        started = await call()
    except CallFailed as failed:
        return await after_init(run, failed.trouble)
    except QuotaUsedUp as used_up:
        return await after_refused_token(run, used_up.wait)
    run.tools.crash.reach("after_init_answer")
    return Submitted(started.publish_id, started.log_id)
