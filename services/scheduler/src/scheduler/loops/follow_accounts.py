"""What an account's event left to do: thousands of posts are brought in line in small transactions."""

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.outbox import Outbox
from scheduler.usecases.apply_account_event import follow_one_account
from scheduler.usecases.waker import Waker


class FollowAccounts:
    """Changes a thousand posts per step, taking turns between accounts; any number of replicas may run it."""

    def __init__(self, database: Database, outbox: Outbox, waker: Waker) -> None:
        self._database = database
        self._outbox = outbox
        self._waker = waker
        self.loop = DueLoop("follow_accounts", self.step)

    async def step(self) -> StepResult:
        """Bring one chunk of one account's posts in line."""
        async with self._database.transaction() as tx:
            found = await follow_one_account(tx, self._outbox, self._waker)
        return StepResult(done=int(found), more=found)
