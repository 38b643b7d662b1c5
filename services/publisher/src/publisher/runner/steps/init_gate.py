"""The last look before any init: what it counts against is taken, and its deadline judged."""

from publisher.domain.outcomes import Defer, Fail
from publisher.domain.takeover import DEADLINE_PASSED
from publisher.runner.run import JobRun
from publisher.runner.steps.quota import take_init


async def enter_init(run: JobRun) -> Defer | Fail | None:
    """Return why the init is not made now; None when it is to be made at once."""
    wait = await take_init(run)
    if wait is not None:
        return wait
    return DEADLINE_PASSED if run.clock.now() > run.job.checkpoint.publish_before else None
