"""One user's backlog holds up no other user's post."""

import math
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from common.clock import utc_now
from common.ids import uuid7
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import LOOK_PAST_EVERY_S, DuePosts
from scheduler.settings import Settings
from scheduler.storage.claim import ClaimLimits

pytestmark = pytest.mark.integration
LIMITS = ClaimLimits()


async def test_one_users_backlog_does_not_hold_up_another(world: Any, values: Any) -> None:
    crowd, lonely = uuid7(), uuid7()
    early = utc_now() - timedelta(hours=1)
    await world.many([values(user_id=crowd, next_attempt_at=early) for _ in range(2_000)])
    single = await world.post(user_id=lonely)
    await world.claim()
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
    assert claimed.posts <= LIMITS.batch
    assert (await world.reload(single)).status == "due"
    shares = Counter(envelope.userid for envelope in await world.told())
    assert all(1 <= shares[user_id] <= LIMITS.per_user for user_id in users)


@pytest.mark.parametrize("crowds", [10, 12, 20, 50, 600])
async def test_backlogs_that_fill_the_batch_together_do_not_hold_up_another(world: Any, values: Any, crowds: int) -> None:
    """Due in turns, they leave no room behind them: with 12 or more, none of them has even used up its share."""
    users = [uuid7() for _ in range(crowds)]
    early = utc_now() - timedelta(hours=1)
    moments = [early + timedelta(milliseconds=number) for number in range(5_000)]
    await world.many([values(user_id=users[number % crowds], next_attempt_at=moment) for number, moment in enumerate(moments)])
    single = await world.post(next_attempt_at=utc_now())
    claimed = await world.claim()
    assert 1 < claimed.posts <= LIMITS.batch
    again = await world.claim(turn=claimed.turn)
    assert (await world.reload(single)).status == "due", (claimed, again)
    assert (await world.counts())["scheduled"] >= 5_000 - 2 * LIMITS.batch


async def test_one_user_cannot_take_all_of_a_little_room(world: Any, values: Any, intake: Any) -> None:
    """With a backlog at the publisher only a few places come free at a time: they are shared, too."""
    crowd = uuid7()
    await world.many([values(user_id=crowd, next_attempt_at=utc_now() - timedelta(hours=1)) for _ in range(60)])
    single = await world.post()
    due = DuePosts(world.database, world.outbox, LIMITS, Backlog(world.database, intake, limit=8))
    # What is claimed waits in one line, in which nobody takes turns: no more of it than the publisher stores in a second.
    assert Settings.model_fields["claim_backlog_limit"].default <= 3_000
    assert (await due.step()).done == 3
    assert (await world.reload(single)).status == "due"
    assert Counter(envelope.userid for envelope in await world.told())[crowd] == 2


async def test_without_looking_past_only_the_head_is_taken(world: Any, values: Any) -> None:
    crowd = uuid7()
    await world.many([values(user_id=crowd, next_attempt_at=utc_now() - timedelta(hours=1)) for _ in range(600)])
    single = await world.post()
    assert (await world.claim(turn=None)).posts == LIMITS.per_user
    assert (await world.reload(single)).status == "scheduled"


@pytest.mark.parametrize("walk", [1, 3, 5_000])
async def test_a_look_goes_past_few_users_and_comes_round_to_all(
    world: Any, values: Any, monkeypatch: pytest.MonkeyPatch, walk: int
) -> None:
    """Nine have only posts of tomorrow; the single one's user comes before all of them or after, and the turn begins anywhere."""
    monkeypatch.setattr("scheduler.usecases.claim_due_posts.MAX_WALK", walk)
    users = sorted(uuid7() for _ in range(12))
    crowd, lonely = users[5], (users[0], users[11])
    await world.many([values(user_id=crowd, next_attempt_at=utc_now() - timedelta(hours=1)) for _ in range(2_000)])
    await world.many([values(user_id=user_id, next_attempt_at=utc_now() + timedelta(days=1)) for user_id in users])
    turn, looks = users[8], 0
    for user_id in lonely:
        single = await world.post(user_id=user_id)
        while (await world.reload(single)).status == "scheduled":
            turn, looks = (await world.claim(turn=turn)).turn, looks + 1
    assert looks <= 2 * math.ceil(12 / walk)


async def test_posts_in_another_replicas_hands_are_left_to_it(world: Any, values: Any) -> None:
    crowd = uuid7()
    await world.many([values(user_id=crowd, next_attempt_at=utc_now() - timedelta(hours=1)) for _ in range(1_200)])
    single = await world.post()
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("SELECT FROM posts WHERE id = :id FOR UPDATE"), {"id": single.id})
        assert (await world.claim()).posts == LIMITS.per_user
    assert (await world.claim()).posts == LIMITS.per_user + 1


async def test_of_two_places_one_is_for_others(world: Any, values: Any) -> None:
    for batch in (1, 2):
        crowd = uuid7()
        await world.many([values(user_id=crowd, next_attempt_at=utc_now() - timedelta(hours=1)) for _ in range(5)])
        single = await world.post()
        assert (await world.claim(ClaimLimits(batch=batch))).posts == 2
        assert (await world.reload(single)).status == "due"
        await world.execute("DELETE FROM posts")


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
