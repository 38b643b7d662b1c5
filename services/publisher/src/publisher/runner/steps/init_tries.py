"""The tries of one init: its intent is in the database while one may be under way, and only then."""

from collections.abc import Mapping
from typing import Any

from publisher.errors import HandedBack, QuotaUsedUp
from publisher.runner.run import JobRun
from publisher.runner.steps.quota import asked
from publisher.runner.steps.refusal import take_back
from publisher.storage import quotas


class InitTries:
    """What comes before each try of an init, and after one whose token TikTok refused.

    `take_init` has counted the first try, each further one is counted here. Once the replica is asked to end none follows: broken
    off while TikTok answers, it would be lost, and whoever comes next makes it.
    """

    def __init__(self, run: JobRun, intent: Mapping[str, Any]) -> None:
        self._run = run
        self._intent = intent
        self._made = 0
        self._is_intended = False

    async def intend(self) -> None:
        """Store the intent. Raises LeaseLost."""
        await self._run.store(self._intent, event=self._run.resumed())
        self._is_intended = True
        self._run.tools.crash.reach("after_init_intent")

    async def before(self) -> None:
        """Check that a try may be sent. Raises HandedBack, QuotaUsedUp, LeaseLost."""
        if self._made:
            await self._count_another()
        if not self._is_intended:
            await self.intend()
        self._made += 1
        await self._run.check_init()

    async def token_refused(self) -> None:
        """Take the intent back: the try had no effect. Raises HandedBack when none is to follow, LeaseLost."""
        is_unwanted = await take_back(self._run)
        self._is_intended = False
        if is_unwanted or self._run.stopping:
            raise HandedBack

    async def _count_another(self) -> None:
        if self._run.stopping:
            raise HandedBack
        wait = await asked(self._run, [quotas.of_init_again(self._run.job)])
        if wait is not None:
            raise QuotaUsedUp(wait)
