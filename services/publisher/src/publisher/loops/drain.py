"""The end of a replica: all lanes drain at the same time, so that each has the whole time for it."""

import asyncio
from collections.abc import Sequence

from publisher.loops.lane_runner import LaneRunner


class Drain:
    """A component to be started after the lanes, hence stopped before them. They may be stopped again."""

    name = "drain"

    def __init__(self, lanes: Sequence[LaneRunner]) -> None:
        self._lanes = lanes

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Stop all lanes; raises what one of them raised once all have stopped."""
        ends = await asyncio.gather(*(lane.stop() for lane in self._lanes), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end
