"""The checks before the due time, a batch at a time."""

from common.due_loop import DueLoop, StepResult
from scheduler.metrics import UNCHECKED
from scheduler.usecases.check_before_due import ChecksBeforeDue

EVERY_S = 5.0
FULL_PAUSE_S = 1.0
"""Between full batches: thousands of posts due at one moment are checked over minutes, not at once."""


class Preflight:
    """Looks every five seconds; at most one batch a second per replica, over connections that the due loop does not use."""

    def __init__(self, checks: ChecksBeforeDue) -> None:
        self._checks = checks
        self.loop = DueLoop("preflight", self.step, max_sleep=EVERY_S)

    async def step(self) -> StepResult:
        """Check one batch, and measure how many posts wait for their first look."""
        taken = await self._checks.check_batch()
        UNCHECKED.set(await self._checks.count_waiting())
        return StepResult(done=taken, next_in=FULL_PAUSE_S if taken >= self._checks.limits.batch else None)
