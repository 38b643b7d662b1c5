"""One user's backlog holds up no other user's post."""

from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from common.clock import utc_now
from common.ids import uuid7
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import LOOK_PAST_EVERY_S, DuePosts
from scheduler.storage.claim import ClaimLimits

pytestmark = pytest.mark.integration
LIMITS = ClaimLimits()


async def test_one_users_backlog_does_not_hold_up_another(world: Any, values: Any) -> None:
    crowd, lonely = uuid7(), uuid7()
    early = utc_now() - timedelta(hours=1)
    await world.many([values(user_id=crowd, next_attempt_at=early) for _ in range(2_000)])
    single = await world.post(user_id=lonely)
    claimed = await world.claim()
    assert claimed.crowded == {crowd}
    assert (await world.reload(single)).status == "due"
    shares = Counter(envelope.userid for envelope in await world.told())
    assert shares == {crowd: LIMITS.per_user, lonely: 1}


@pytest.mark.parametrize("crowds", [3, 12])
async def test_several_users_backlogs_do_not_hold_up_another(world: Any, values: Any, crowds: int) -> None:
    """Each of them alone is more than a batch, and all of it is due before the single post: the first claim has it all the same."""
    users = [uuid7() for _ in range(crowds)]
    for number, user_id in enumerate(users):
        early = utc_now() - timedelta(hours=crowds - number)
        await world.many([values(user_id=user_id, next_attempt_at=early) for _ in range(LIMITS.batch + 1)])
    single = await world.post(next_attempt_at=utc_now())
    claimed = await world.claim()
    assert claimed.crowded == set(users)
    assert claimed.posts <= LIMITS.batch
    assert (await world.reload(single)).status == "due"
    shares = Counter(envelope.userid for envelope in await world.told())
    assert all(1 <= shares[user_id] <= LIMITS.per_user for user_id in users)


async def test_one_user_cannot_take_all_of_a_little_room(world: Any, values: Any, intake: Any) -> None:
    """With a backlog at the publisher only a few places come free at a time: they are shared, too."""
    crowd = uuid7()
    await world.many([values(user_id=crowd, next_attempt_at=utc_now() - timedelta(hours=1)) for _ in range(60)])
    single = await world.post()
    due = DuePosts(world.database, world.outbox, LIMITS, Backlog(world.database, intake, limit=8))
    assert (await due.step()).done == 3
    assert (await world.reload(single)).status == "due"
    assert Counter(envelope.userid for envelope in await world.told())[crowd] == 2


async def test_without_looking_past_only_the_head_is_taken(world: Any, values: Any) -> None:
    crowd = uuid7()
    await world.many([values(user_id=crowd, next_attempt_at=utc_now() - timedelta(hours=1)) for _ in range(600)])
    single = await world.post()
    assert (await world.claim(look_past=False)).posts == LIMITS.per_user
    assert (await world.reload(single)).status == "scheduled"


class Clock:
    """The monotonic clock of a due loop; it stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now


async def test_the_due_loop_comes_to_the_single_post_long_before_the_crowds_end(
    world: Any, values: Any, intake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another user 10,000 posts are due before it: it leaves with the next look past them, which is never a second away."""
    clock = Clock()
    monkeypatch.setattr("scheduler.loops.due_posts.asyncio", SimpleNamespace(get_running_loop=lambda: clock))
    crowd = uuid7()
    early = utc_now() - timedelta(hours=1)
    await world.many([values(user_id=crowd, next_attempt_at=early) for _ in range(10_000)])
    due = DuePosts(world.database, world.outbox, LIMITS, Backlog(world.database, intake, limit=100_000))
    await due.step()
    single = await world.post(next_attempt_at=utc_now())
    for _ in range(3):
        await due.step()
    assert (await world.reload(single)).status == "scheduled"
    clock.now += LOOK_PAST_EVERY_S
    await due.step()
    assert (await world.reload(single)).status == "due"
    assert LOOK_PAST_EVERY_S < 1.0
    assert (await world.counts())["scheduled"] == 10_000 - 5 * LIMITS.per_user
