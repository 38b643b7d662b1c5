"""Events of neighbours over real RabbitMQ: delivered twice, late, and to a scheduler that was restarted."""

from datetime import timedelta
from typing import Any

import pytest

from common.clock import utc_now
from common.contracts.accounts import AccountUpdated
from common.contracts.publisher import PublishStarted, PublishSucceeded
from common.ids import uuid7
from common.testing.eventually import eventually
from scheduler.domain.post import Post

pytestmark = pytest.mark.integration


def base(post: Post) -> dict[str, Any]:
    return {"post_id": post.id, "attempt": 1, "job_id": uuid7(), "account_id": uuid7(), "replica": "p"}


async def test_results_of_the_publisher(world: Any, scheduler: Any) -> None:
    post = await world.post(status="due", attempt=1, next_attempt_at=None, scheduled_time=utc_now())
    now = utc_now()
    started = PublishStarted(**base(post), due_at=now, started_at=now, lateness_ms=0.5)
    live = PublishSucceeded(**base(post), publish_id="v~1", outcome="published", published_at=now)
    await scheduler.event(live, "publisher", post.id, post.user_id, 4)

    async def is_published() -> bool:
        return bool((await world.reload(post)).status == "published")

    await eventually(is_published)
    for _ in range(2):
        await scheduler.event(started, "publisher", post.id, post.user_id, 1)
        await scheduler.event(live, "publisher", post.id, post.user_id, 4)
    last = await world.post(status="due", attempt=1, next_attempt_at=None, scheduled_time=utc_now())
    await scheduler.event(
        PublishStarted(**base(last), due_at=now, started_at=now, lateness_ms=0), "publisher", last.id, last.user_id, 1
    )

    async def is_publishing() -> bool:
        return bool((await world.reload(last)).status == "publishing")

    await eventually(is_publishing)
    assert (await world.reload(post)).version == post.version + 1


async def test_an_account_that_is_paused_and_back(world: Any, scheduler: Any) -> None:
    account = await world.account()
    post = await world.post(account_id=account.id, user_id=account.user_id, next_attempt_at=utc_now() + timedelta(hours=1))

    async def tell(status: Any, version: int) -> None:
        event = AccountUpdated(
            account_id=account.id,
            user_id=account.user_id,
            tiktok_user_id="t",
            username="ann",
            display_name="Ann",
            status=status,
            scopes=[],
        )
        await scheduler.event(event, "accounts", account.id, account.user_id, version)

    async def state() -> tuple[str, bool]:
        now = await world.reload(post)
        return now.status, now.held

    await tell("inactive", 2)
    await eventually(lambda: _is(state, ("scheduled", True)))
    await world.execute("UPDATE posts SET next_attempt_at = now()")
    await tell("active", 3)
    await eventually(lambda: _is(state, ("due", False)))


async def _is(state: Any, expected: tuple[str, bool]) -> bool:
    return bool(await state() == expected)
