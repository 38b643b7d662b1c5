"""The due loop: woken or not, by whatever clock, it claims on time and sleeps until the next post."""

from datetime import timedelta
from typing import Any

import pytest

from common.clock import utc_now
from common.testing.eventually import eventually
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import DuePosts
from scheduler.storage.claim import ClaimLimits
from scheduler.usecases.claim_due_posts import claim_due_posts
from scheduler.usecases.waker import Waker

pytestmark = pytest.mark.integration
LIMITS = ClaimLimits()


def free(world: Any, intake: Any) -> Backlog:
    return Backlog(world.database, intake, limit=100_000)


@pytest.mark.parametrize("ahead", [timedelta(hours=-1), timedelta(hours=1)])
async def test_a_replica_whose_clock_is_wrong_claims_on_time(
    world: Any, intake: Any, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    """Stepped by an hour either way it wakes too often or never; the database says what is due, and the loop looks by itself."""
    monkeypatch.setattr("scheduler.usecases.waker.utc_now", lambda: utc_now() + ahead)
    due = DuePosts(world.database, world.outbox, LIMITS, free(world, intake))
    await due.loop.start()
    try:
        post = await world.post(next_attempt_at=utc_now() + timedelta(seconds=0.4))
        async with world.database.transaction() as tx:
            Waker(due.loop.wake).wake_for(tx, post)
        await eventually(lambda: _left(world))
    finally:
        await due.loop.stop()
    (envelope,) = await world.told()
    assert timedelta(0) <= envelope.time - post.next_attempt_at < timedelta(minutes=1)


async def _left(world: Any) -> bool:
    return await world.counts() == {"due": 1}


async def test_step_tells_when_to_look_again(world: Any, intake: Any, values: Any) -> None:
    due = DuePosts(world.database, world.outbox, ClaimLimits(batch=10), free(world, intake))
    assert (await due.step()).next_in is None
    await world.many([values() for _ in range(15)])
    await world.post(next_attempt_at=utc_now() + timedelta(minutes=5))
    first, second = await due.step(), await due.step()
    assert (first.done, first.more) == (10, True)
    assert (second.done, second.more) == (5, False)
    assert second.next_in is not None
    assert 240 < second.next_in <= 300


async def test_rows_in_another_replicas_hands_are_waited_for_briefly(world: Any, intake: Any) -> None:
    await world.post()
    due = DuePosts(world.database, world.outbox, LIMITS, free(world, intake))
    async with world.database.transaction() as tx:
        await claim_due_posts(tx, world.outbox, LIMITS)
        result = await due.step()
        assert (result.done, result.more) == (0, False)
        assert result.next_in is not None
        assert result.next_in <= 0.05


async def test_after_a_claim_with_room_left_it_takes_a_breath(
    world: Any, intake: Any, values: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What falls due meanwhile leaves together; a full batch is followed by the next one at once."""
    monkeypatch.setattr("scheduler.loops.due_posts.PACE_S", 60.0)
    due = DuePosts(world.database, world.outbox, ClaimLimits(batch=40, per_user=3), free(world, intake))
    one_user = values()["user_id"]
    await world.many([values(user_id=one_user) for _ in range(10)])
    result = await due.step()
    assert result.done < 10
    assert not result.more
    assert result.next_in is not None
    assert 50 < result.next_in <= 60
