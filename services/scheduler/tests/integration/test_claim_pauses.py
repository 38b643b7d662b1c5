"""Claiming pauses while the publisher cannot take more, tells it, and suspends no deadline."""

from datetime import timedelta
from typing import Any

import pytest

from common.clock import utc_now
from common.contracts.registry import parse
from common.contracts.scheduler import PostFailed
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import DuePosts
from scheduler.loops.sweep import Sweep
from scheduler.storage.claim import ClaimLimits
from scheduler.storage.sweep import SweepLimits

pytestmark = pytest.mark.integration
LIMITS = ClaimLimits()


async def test_claiming_pauses_while_too_many_are_on_their_way(world: Any, values: Any, intake: Any) -> None:
    await world.many([values() for _ in range(30)])
    intake.length = 3
    due = DuePosts(world.database, world.outbox, LIMITS, Backlog(world.database, intake, limit=10))
    first, second = await due.step(), await due.step()
    assert (first.done, first.more) == (7, True)
    assert (second.done, second.more) == (0, False)
    assert second.next_in is not None
    assert second.next_in <= 0.1
    await world.execute("DELETE FROM outbox_messages")
    assert (await due.step()).done == 7
    assert intake.asked == 3


async def test_nothing_is_claimed_while_nobody_would_receive_it(world: Any, intake: Any) -> None:
    intake.length = None
    post = await world.post()
    due = DuePosts(world.database, world.outbox, LIMITS, Backlog(world.database, intake, limit=10))
    assert (await due.step()).done == 0
    assert await world.reload(post) == post


async def test_a_pause_that_makes_posts_late_is_told(world: Any, intake: Any) -> None:
    intake.length = None
    due = DuePosts(world.database, world.outbox, LIMITS, Backlog(world.database, intake, limit=10))
    await due.step()
    assert await due.check() is None
    post = await world.post(next_attempt_at=utc_now() - timedelta(seconds=50))
    assert await due.check() is None
    await world.post(next_attempt_at=utc_now() - timedelta(seconds=70))
    assert "70 s late" in (await due.check() or "")
    intake.length = 0
    await due.step()
    assert await due.check() is None
    assert (await world.reload(post)).status == "due"


async def test_a_pause_does_not_suspend_the_deadlines(world: Any, intake: Any) -> None:
    """Nobody claims, yet a post past its deadline fails; one that is only late goes on waiting."""
    late = await world.post(publish_before=utc_now() - timedelta(seconds=1))
    waiting = await world.post()
    backlog = Backlog(world.database, intake, limit=1_000)
    sweep = Sweep(world.database, world.outbox, None, SweepLimits(), backlog)  # type: ignore[arg-type]
    assert (await sweep.sweep_deadlines()).done == 1
    failed = await world.reload(late)
    assert (failed.status, failed.error_code, failed.due_at) == ("failed", "deadline_passed", late.next_attempt_at)
    assert await world.reload(waiting) == waiting
    (envelope,) = await world.told()
    assert parse(envelope, PostFailed).code == "deadline_passed"
