"""An account's life and its posts: held, released, cancelled."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.clock import utc_now
from common.contracts import accounts as contract
from common.contracts.registry import parse
from common.contracts.scheduler import PostCancelled, PostHeld
from common.ids import uuid7
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.post import Post
from scheduler.loops.follow_accounts import FollowAccounts
from scheduler.storage import account_posts
from scheduler.storage.accounts import get_account
from scheduler.usecases.sweep_posts import expire_posts

pytestmark = pytest.mark.integration


async def brought_in_line(world: Any) -> list[int]:
    """Run the loop's steps until none is left; returns what each did."""
    loop, done = FollowAccounts(world.database, world.outbox, world.waker), []
    while not done or done[-1]:
        done.append((await loop.step()).done)
    return done


@pytest.fixture
async def post(world: Any, account: Any) -> Post:
    made: Post = await world.post(account_id=account.id, user_id=account.user_id)
    return made


async def test_paused_posts_leave_the_due_index_and_come_back(world: Any, account: Any, post: Post) -> None:
    assert post.account_id is not None
    await world.hear(account, contract.AccountUpdated, 2, "inactive")
    held = await world.reload(post)
    assert (held.status, held.held, held.held_reason, held.version) == ("scheduled", True, "account_paused", 2)
    assert (await world.claim()).posts == 0
    await world.hear(account, contract.AccountExpired, 3, "expired")
    assert (await world.reload(post)).held_reason == "account_expired"
    await world.hear(account, contract.AccountConnected, 4)
    back = await world.reload(post)
    assert (back.held, back.held_reason, back.next_attempt_at) == (False, None, post.next_attempt_at)
    assert world.woken
    told = [parse(envelope, PostHeld) for envelope in await world.told()]
    assert [(event.held, event.reason) for event in told] == [
        (True, "account_paused"),
        (True, "account_expired"),
        (False, "account_active"),
    ]
    assert (await world.claim()).posts == 1


async def test_older_news_change_nothing(world: Any, account: Any, post: Post) -> None:
    assert post.account_id is not None
    await world.hear(account, contract.AccountSynced, 7)
    await world.hear(account, contract.AccountUpdated, 6, "inactive")
    assert not (await world.reload(post)).held
    async with world.database.read() as connection:
        copy = await get_account(connection, post.account_id, post.user_id)
    assert copy is not None
    assert (copy.version, copy.status) == (7, "active")


async def test_disconnecting_cancels_what_waits_and_asks_for_the_rest(world: Any, account: Any, post: Post) -> None:
    assert post.account_id is not None
    common = {"account_id": post.account_id, "user_id": post.user_id}
    retry = await world.post(**common, status="retry_scheduled", attempt=1)
    moving = await world.post(**common, status="publishing", attempt=1, next_attempt_at=None, scheduled_time=utc_now())
    processed = {**common, "status": "processing", "attempt": 1, "next_attempt_at": None}
    pulled = await world.post(**processed, transfer="pull", source_url="https://videos.example.com/a.mp4")
    photos = await world.post(**processed, photo_urls=["https://videos.example.com/a.jpg"])
    sent = await world.post(**processed)
    done = await world.post(**common, status="published", next_attempt_at=None, scheduled_time=utc_now())
    draft = await world.post(**common, status="draft", next_attempt_at=None, scheduled_time=None)
    await world.hear(account, contract.AccountDisconnected, 2)
    for waiting in (post, retry):
        now = await world.reload(waiting)
        assert (now.status, now.next_attempt_at) == ("cancelled", None)
        assert (now.error_code, now.error_message) == ("account_disconnected", "The post's TikTok account was disconnected.")
    for one, is_asked in ((moving, True), (pulled, True), (photos, True), (sent, False)):
        assert ((await world.reload(one)).cancel_at is not None) is is_asked
    assert (await world.reload(done)).status == "published"
    assert (await world.reload(draft)).status == "draft"
    told = [parse(envelope, PostCancelled) for envelope in await world.told()]
    assert [event.reason for event in told] == ["account_disconnected"] * 2


async def test_a_post_claimed_while_its_account_is_disconnected_is_asked_for(
    world: Any, account: Any, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The due loop commits its claim between the two statements: the post is cancelled or asked for, never neither."""
    assert post.account_id is not None
    first = True

    def claiming_after(statement: Any) -> Any:
        async def run(*arguments: Any) -> Any:
            nonlocal first
            result = await statement(*arguments)
            if first:
                first = False
                await world.claim()
            return result

        return run

    for name in ("want_cancelled", "cancel_posts"):
        monkeypatch.setattr(account_posts, name, claiming_after(getattr(account_posts, name)))
    await world.hear(account, contract.AccountDisconnected, 2)
    now = await world.reload(post)
    assert now.status == "cancelled" or now.cancel_at is not None


async def test_thousands_of_posts_are_held(world: Any, values: Any) -> None:
    account = await world.account()
    await world.many([values(account_id=account.id, user_id=account.user_id) for _ in range(2_300)])
    await world.hear(account, contract.AccountUpdated, 2, "inactive")
    assert len(await world.told()) == 1_000
    assert await brought_in_line(world) == [1, 1, 0]
    assert (await world.claim()).posts == 0
    assert len(await world.told()) == 2_300
    assert await brought_in_line(world) == [0]


async def test_thousands_of_holds_get_another_reason_and_are_released(world: Any, values: Any) -> None:
    account = await world.account(status="inactive")
    held = {"held": True, "held_reason": "account_paused", "account_id": account.id, "user_id": account.user_id}
    await world.many([values(**held) for _ in range(1_500)])
    await world.hear(account, contract.AccountExpired, 2, "expired")
    assert await brought_in_line(world) == [1, 0]
    assert len(await world.told()) == 1_500
    async with world.database.read() as connection:
        assert (await connection.execute(text("SELECT DISTINCT held_reason FROM posts"))).scalars().all() == [
            "account_expired"
        ]
    await world.hear(account, contract.AccountConnected, 3)
    assert len(await world.told()) == 2_500
    assert await brought_in_line(world) == [1, 0]
    async with world.database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM posts WHERE held")) == 0


async def test_thousands_are_cancelled_and_what_is_claimed_meanwhile_is_asked_for(world: Any, values: Any) -> None:
    account = await world.account()
    await world.many([values(account_id=account.id, user_id=account.user_id) for _ in range(1_500)])
    await world.hear(account, contract.AccountDisconnected, 2)
    assert (await world.claim()).posts == 50
    await brought_in_line(world)
    assert await world.counts() == {"cancelled": 1_450, "due": 50}
    async with world.database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM posts WHERE cancel_at IS NOT NULL")) == 50


async def test_newer_news_of_an_account_go_before_what_was_left_over(world: Any, values: Any) -> None:
    account = await world.account()
    await world.many([values(account_id=account.id, user_id=account.user_id) for _ in range(1_500)])
    await world.hear(account, contract.AccountUpdated, 2, "inactive")
    await world.hear(account, contract.AccountConnected, 3)
    await brought_in_line(world)
    async with world.database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM posts WHERE held")) == 0


async def test_a_held_post_past_its_deadline_fails(world: Any) -> None:
    late = await world.post(held=True, held_reason="account_expired", publish_before=utc_now() - timedelta(seconds=1))
    kept = await world.post(held=True, held_reason="account_expired")
    async with world.database.transaction() as tx:
        assert await expire_posts(tx, world.outbox, limit=10) == 1
    failed = await world.reload(late)
    assert (failed.status, failed.held, failed.error_code) == ("failed", False, "deadline_passed")
    assert await world.reload(kept) == kept
    (envelope,) = await world.told()
    assert envelope.key == "scheduler.post.failed.v1"


async def test_an_unknown_accounts_copy_is_made(world: Any) -> None:
    unknown = AccountCopy(id=uuid7(), user_id=uuid7(), username="ann", status="active", version=0)
    await world.hear(unknown, contract.AccountConnected, 1)
    async with world.database.read() as connection:
        assert await get_account(connection, unknown.id, uuid7()) is None
        copy = await get_account(connection, unknown.id, unknown.user_id)
    assert copy is not None
    assert not copy.deleted
