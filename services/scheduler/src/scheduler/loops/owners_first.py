"""What owners have asked for goes before what has fallen due: after an outage, both wait."""

import asyncio

from common.messaging.headway import PATIENCE_S, Headway
from scheduler.loops.backlog import IntakeQueue


class OwnersFirst:
    """Tells whether claiming has to wait for commands and account events that were there before this replica heard of them."""

    def __init__(self, headway: Headway, intake: IntakeQueue) -> None:
        self._headway = headway
        self._intake = intake
        self._deaf_since: float | None = None

    async def hold(self) -> bool:
        """Return whether nothing is to be claimed now.

        So it is while what had waited is being handled, and while nothing is heard: what falls due then could hardly leave, and
        its owner may be changing it. Both for 30 s at most, in which RabbitMQ answers.
        """
        if self._headway.is_connected:
            self._deaf_since = None
            return self._headway.is_behind()
        if await self._intake.waiting() is None:
            self._deaf_since = None
            return True
        now = asyncio.get_running_loop().time()
        if self._deaf_since is None:
            self._deaf_since = now
        return now - self._deaf_since < PATIENCE_S
