"""The init of what TikTok fetches itself: it publishes from this call alone, so it is made once and never repeated.

From the stored intent on, nothing but TikTok's answer tells whether it ran. Where no answer says that it did not, the attempt is
`unconfirmed`, and the next replica finds it so.
"""

from collections.abc import Awaitable, Callable

from publisher.domain.job import Step
from publisher.domain.outcomes import Look, Submitted
from publisher.errors import CallFailed, HandedBack, QuotaUsedUp
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.creator import privacy_level
from publisher.runner.steps.init_gate import enter_init
from publisher.runner.steps.init_tries import InitTries
from publisher.runner.steps.refusal import after_init, after_put_off
from tiktok.models import PullInit


async def init_once(run: JobRun, call: Callable[[InitTries], Awaitable[PullInit]]) -> Outcome:
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
    tries = InitTries(run, intent)
    await tries.intend()
    try:
        started = await call(tries)
    except CallFailed as failed:
        return await after_init(run, failed.trouble)
    except (QuotaUsedUp, HandedBack) as put_off:
        return await after_put_off(run, put_off)
    run.tools.crash.reach("after_init_answer")
    return Submitted(started.publish_id, started.log_id)
