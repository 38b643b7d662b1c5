"""A time limit is extended by what a machine was measured to stand still, and by nothing else."""

import asyncio
import time

from common.testing.stalls import Stalls


async def test_a_blocked_loop_counts_and_a_waiting_one_does_not() -> None:
    stalls = Stalls(at_most=0.2)
    async with stalls.of_this_loop():
        for _ in range(10):
            await asyncio.sleep(0.05)
        waited = stalls.seconds
        blocked_at = time.monotonic()
        time.sleep(1.0)  # noqa: ASYNC251 - stands for a machine that stood still
        blocked = time.monotonic() - blocked_at
        await asyncio.sleep(0.05)
    # What the machine of this test stood still by itself comes on top.
    assert stalls.seconds - waited >= blocked - 0.2 - 0.05


def test_steps_add_up_as_far_as_they_took_too_long() -> None:
    stalls = Stalls(at_most=60.0)
    with stalls.control():
        pass
    assert stalls.seconds == 0
    stalls = Stalls(at_most=0.0)
    began = time.monotonic()
    for _ in range(3):
        with stalls.control():
            time.sleep(0.01)
    assert 0.03 <= stalls.seconds <= time.monotonic() - began
