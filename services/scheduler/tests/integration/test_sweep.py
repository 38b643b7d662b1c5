"""No post waits silently: sweeping moving posts, stopping unwanted ones, forgetting old replies."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from common.clock import utc_now
from common.contracts.registry import parse
from common.contracts.scheduler import PostDue
from common.ids import uuid7
from common.messaging.inbox import Inbox
from scheduler.clients.publisher import PublisherAway
from scheduler.domain.post import Post
from scheduler.loops.prune import Prune
from scheduler.loops.sweep import Sweep
from scheduler.storage.sweep import SweepLimits
from scheduler.storage.tables import inbox

pytestmark = pytest.mark.integration


class Publisher:
    """Answers cancellations as told."""

    def __init__(self, answer: bool | None) -> None:
        self.answer = answer
        self.asked: list[tuple[object, int]] = []

    async def cancel(self, post_id: object, attempt: int) -> bool:
        self.asked.append((post_id, attempt))
        if self.answer is None:
            raise PublisherAway("away")
        return self.answer


def sweep(world: Any, answer: bool | None = None, **limits: Any) -> Sweep:
    return Sweep(world.database, world.outbox, Publisher(answer), SweepLimits(**limits))  # type: ignore[arg-type]


async def moving(world: Any, **fields: Any) -> Post:
    values = {"status": "publishing", "attempt": 3, "next_attempt_at": None, "scheduled_time": utc_now(), "due_at": utc_now()}
    post: Post = await world.post(**{**values, **fields})
    return post


@pytest.mark.parametrize("status", ["due", "publishing", "deferred", "processing"])
async def test_a_silent_post_is_asked_about_with_the_same_attempt(world: Any, status: str) -> None:
    post = await moving(world, status=status, sweep_at=utc_now() - timedelta(seconds=1))
    result = await sweep(world).sweep_moving()
    assert result.done == 1
    now = await world.reload(post)
    assert (now.status, now.attempt, now.version) == (status, 3, post.version)
    assert now.sweep_at is not None
    assert now.sweep_at > utc_now()
    (envelope,) = await world.told()
    assert (parse(envelope, PostDue).attempt, envelope.sequence_number) == (3, post.version)


async def test_a_row_that_makes_no_event_stops_no_other(world: Any) -> None:
    """What the publisher has in hand may be out already: it is not failed, and asked about again later."""
    overdue = utc_now() - timedelta(seconds=1)
    bad, good = await moving(world, sweep_at=overdue, privacy_level="NOBODY"), await moving(world, sweep_at=overdue)
    assert (await sweep(world).sweep_moving()).done == 2
    assert [envelope.subject for envelope in await world.told()] == [str(good.id)]
    now = await world.reload(bad)
    assert (now.status, now.sweep_at > utc_now()) == ("publishing", True)


async def test_others_are_left_alone(world: Any) -> None:
    await moving(world, sweep_at=utc_now() + timedelta(seconds=20))
    await moving(world, status="published", sweep_at=utc_now() - timedelta(seconds=1))
    result = await sweep(world).sweep_moving()
    assert (result.done, result.more) == (0, False)
    assert result.next_in is not None
    assert 15 < result.next_in <= 20


async def test_a_full_batch_tells_that_there_may_be_more(world: Any) -> None:
    for _ in range(2):
        await moving(world, sweep_at=utc_now() - timedelta(seconds=1))
    assert (await sweep(world, batch=2).sweep_moving()).more
    assert (await sweep(world).sweep_deadlines()).done == 0


@pytest.mark.parametrize(
    ("answer", "status", "wanted"), [(True, "cancelled", False), (False, "publishing", False), (None, "publishing", True)]
)
async def test_unwanted_posts_are_stopped_by_the_publishers_word(
    world: Any, answer: bool | None, status: str, wanted: bool
) -> None:
    post = await moving(world, cancel_at=utc_now() - timedelta(seconds=1))
    assert (await sweep(world, answer).stop_unwanted()).done == 1
    now = await world.reload(post)
    assert now.status == status
    assert (now.cancel_at is not None) is wanted
    assert [envelope.key for envelope in await world.told()] == (["scheduler.post.cancelled.v1"] if answer else [])
    assert (await sweep(world, answer).stop_unwanted()).done == 0


async def test_a_post_that_went_on_meanwhile_is_left_alone(world: Any) -> None:
    """The publisher's word is about one attempt; by the time it comes, the post may be at another or gone."""
    post = await moving(world, cancel_at=utc_now() - timedelta(seconds=1))

    class Slow(Publisher):
        async def cancel(self, post_id: object, attempt: int) -> bool:
            await world.execute("UPDATE posts SET attempt = attempt + 1")
            return True

    loop = Sweep(world.database, world.outbox, Slow(True), SweepLimits())  # type: ignore[arg-type]
    assert (await loop.stop_unwanted()).done == 1
    now = await world.reload(post)
    assert (now.status, now.attempt) == ("publishing", 4)


async def test_old_replies_are_forgotten(world: Any) -> None:
    rows = [{"consumer": "c", "message_id": uuid7(), "received_at": utc_now() - timedelta(days=days)} for days in (1, 8)]
    async with world.database.transaction() as tx:
        await tx.connection.execute(insert(inbox), rows)
    assert (await Prune(world.database, Inbox(inbox), timedelta(days=7)).step()).done == 1
    async with world.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(inbox)) == 1
