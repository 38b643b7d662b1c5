"""After the last byte, or TikTok's order to fetch: TikTok's status until it ends."""

from typing import Any

from publisher.domain.claims import CONTRADICTED, with_ids
from publisher.domain.following import after_poll
from publisher.domain.job import Step
from publisher.domain.outcomes import Look, Succeed, Unconfirm
from publisher.runner.claims import claims_of
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.cancel import ask_to_cancel
from publisher.runner.steps.status import ask, told


async def poll(run: JobRun) -> tuple[Outcome, dict[str, Any]]:
    """Ask once; returns how the job goes on and what is to be stored with it. Raises LeaseLost, StatusUnknown.

    A webhook changes nothing about what the status says; it adds the video's id, and says more of an outcome that is unknown.
    """
    asked = await ask_to_cancel(run)
    asked_at = run.clock.now()
    seen = await ask(run)
    checkpoint = run.job.checkpoint
    outcome: Outcome = after_poll(checkpoint, seen, run.clock.now(), give_up=run.tools.limits.give_up)
    changes: dict[str, Any] = {**told(seen, asked_at), "refused_since": None, **asked}
    if isinstance(outcome, Look):
        changes |= {"step": Step.POLLING.value, "polls": checkpoint.polls + 1, "deferrals": 0}
    elif isinstance(outcome, Succeed):
        outcome = with_ids(outcome, await claims_of(run))
    elif isinstance(outcome, Unconfirm):
        claims = await claims_of(run)
        if claims is not None and claims.end is not None:
            outcome = Unconfirm(CONTRADICTED)
    return outcome, changes
