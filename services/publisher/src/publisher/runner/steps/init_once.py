"""The init of what TikTok fetches itself: it publishes from this call alone, so it is made once and never repeated.

From the stored intent on, nothing but TikTok's answer tells whether it ran. Where no answer says that it did not, the attempt is
`unconfirmed`, and the next replica finds it so.
"""

from collections.abc import Awaitable, Callable

from publisher.domain.job import Step
from publisher.domain.outcomes import Cancel, Look, Submitted
from publisher.domain.troubles import TroubleKind, after_init_trouble
from publisher.errors import CallFailed
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.init_gate import enter_init


async def init_once(run: JobRun, call: Callable[[], Awaitable[str]]) -> Outcome:
    """Make the init, which returns the publish_id, and return what it means for the job. Raises LeaseLost.

    A refusal had no effect, and neither had what never left this machine: then the intent is taken back, so that the job may be
    cancelled, and made again, as if it had not been tried.
    """
    if run.stopping:
        # Broken off while TikTok answers, it would be lost: whoever comes next makes it.
        return Look(0.0)
    refusal = await enter_init(run)
    if refusal is not None:
        return refusal
    intent = {"step": Step.INIT_INTENDED.value, "publish_id": None, "irrevocable_since": run.clock.now()}
    await run.store(intent, event=run.resumed())
    run.tools.crash.reach("after_init_intent")
    try:
        publish_id = await call()
    except CallFailed as failed:
        checkpoint = run.job.checkpoint
        if failed.trouble.kind is not TroubleKind.NO_VERDICT:
            await run.store({"step": Step.CREATOR_INFO.value, "irrevocable_since": None})
            if run.job.checkpoint.cancel_wanted:
                return Cancel()
        return after_init_trouble(checkpoint.transfer, failed.trouble, checkpoint.deferrals)
    run.tools.crash.reach("after_init_answer")
    return Submitted(publish_id)
