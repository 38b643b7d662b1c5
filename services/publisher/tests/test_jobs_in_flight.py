"""A replica has no more jobs in hand than its setting says; what waits is a row that any other may take."""

from typing import Any

import pytest

from common.testing.eventually import eventually
from publisher.domain.job import State
from publisher.loops import lane_runner
from publisher.loops.spare_memory import give_back

CREATOR_INFO = "/v2/post/publish/creator_info/query/"

pytestmark = pytest.mark.integration


async def leased(world: Any, posts: list[Any]) -> int:
    return sum([(await world.job(post)).lease_owner is not None for post in posts])


async def test_what_exceeds_the_setting_waits_without_a_lease(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[str] = []
    monkeypatch.setattr(lane_runner, "BURST", 2)
    monkeypatch.setattr(lane_runner, "give_back", lambda: given_back.append("memory"))
    account, media = await world.account(), world.media()
    posts = [world.post(account, media) for _ in range(5)]
    await world.driver.fault(CREATOR_INFO, times=5, delay=600, delay_at="request")
    async with world.replica(max_jobs_in_flight=2, lease_seconds=60.0) as replica:
        send, _ = replica.lanes
        await world.accept(*posts)
        send.wake()
        await eventually(lambda: send.running == 2, 60)
        assert await leased(world, posts) == 2
        # The lane looks again, and leaves the rest where they are.
        send.wake()
        seen = [send.running]

        async def all_are_out() -> bool:
            seen.append(send.running)
            return all([(await world.job(post)).checkpoint.state is State.SUCCEEDED for post in posts])

        await world.driver.admin("DELETE", "faults")
        await eventually(all_are_out, 60)
        await eventually(lambda: send.running == 0, 60)
    assert max(seen) == 2
    # Two at once count as many here: their memory is given back once nothing is in hand.
    assert given_back


def test_memory_is_given_back_whatever_the_system() -> None:
    give_back()
