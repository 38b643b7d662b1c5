"""Posts of an account that cannot publish: they say so, wait, go on, or end."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from common.clock import rfc3339, utc_now
from common.contracts import accounts as contract
from common.contracts import publisher as publisher_contract
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.scheduler import CreatePost, GivenFields, PostFields, UpdatePost
from common.database.migrate import upgrade
from common.errors import Problem
from common.ids import uuid7
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.outcome import Patience
from scheduler.domain.post import Post
from scheduler.domain.retry import RetryPolicy
from scheduler.encoding import post_json
from scheduler.usecases.apply_publish_event import PublishRules, apply_publish_event
from scheduler.usecases.cancel_post import Asked, cancel_post
from scheduler.usecases.create_post import create_post
from scheduler.usecases.judge_posts import Candidate
from scheduler.usecases.post_status import post_status
from scheduler.usecases.surroundings import Surroundings
from scheduler.usecases.sweep_posts import expire_posts
from scheduler.usecases.update_post import EditPlan, update_post
from scheduler.usecases.wanted_post import want_change, want_post

pytestmark = pytest.mark.integration
RULES = PublishRules(RetryPolicy(), Patience())
AWAY = {"inactive": "account_paused", "expired": "account_expired"}


async def report(
    world: Any, post: Post, kind: type[publisher_contract.PublishEvent], *, sequence: int = 5, **fields: Any
) -> Post:
    base = {"post_id": post.id, "attempt": post.attempt, "job_id": uuid7(), "account_id": post.account_id, "replica": "p"}
    event = kind.model_validate({**base, **fields})
    context = Context(user_id=post.user_id, actor="service:publisher")
    envelope = wrap(event, service="publisher", subject=str(post.id), context=context, sequence=sequence)
    async with world.database.transaction() as tx:
        await apply_publish_event(tx, world.outbox, world.waker, RULES, event, envelope)
    now: Post = await world.reload(post)
    return now


async def told(world: Any, post: Post) -> list[tuple[str, Any]]:
    """Return the kinds of a post's events, with the reason where there is one."""
    mine = [envelope for envelope in await world.told() if envelope.subject == str(post.id)]
    return [(envelope.key.split(".")[2], envelope.data.get("reason")) for envelope in mine]


def moving(account: AccountCopy, **fields: Any) -> dict[str, Any]:
    mine = {"account_id": account.id, "user_id": account.user_id}
    return {**mine, "status": "due", "attempt": 1, "next_attempt_at": None, "scheduled_time": utc_now(), **fields}


async def test_a_held_post_can_be_cancelled_and_stays_so(world: Any, account: Any) -> None:
    post = await world.post(account_id=account.id, user_id=account.user_id)
    await world.hear(account, contract.AccountExpired, 2, "expired")
    async with world.database.transaction() as tx:
        await cancel_post(tx, world.outbox, post.id, post.user_id, Asked(post.state), context=Context())
    await world.hear(account, contract.AccountConnected, 3)
    now = await world.reload(post)
    assert (now.status, now.held) == ("cancelled", False)
    assert await told(world, post) == [("held", "account_expired"), ("cancelled", "cancelled_by_user")]


@pytest.mark.parametrize(("status", "words"), [("inactive", "paused"), ("expired", "permission")])
async def test_a_deadline_that_passes_while_held_says_why(world: Any, account: Any, status: str, words: str) -> None:
    post = await world.post(account_id=account.id, user_id=account.user_id, publish_before=utc_now() - timedelta(seconds=1))
    await world.hear(account, contract.AccountUpdated, 2, status)
    async with world.database.transaction() as tx:
        assert await expire_posts(tx, world.outbox, limit=10) == 1
    failed = await world.reload(post)
    assert (failed.status, failed.error_code, failed.held) == ("failed", "deadline_passed", False)
    assert words in failed.error_message
    assert failed.error_hint
    await world.hear(account, contract.AccountUpdated, 3)
    assert await world.reload(post) == failed


async def test_released_after_its_deadline_it_fails_and_nothing_is_sent(world: Any, account: Any) -> None:
    post = await world.post(account_id=account.id, user_id=account.user_id, publish_before=utc_now() - timedelta(seconds=1))
    await world.hear(account, contract.AccountUpdated, 2, "inactive")
    await world.hear(account, contract.AccountUpdated, 3)
    assert (await world.claim()).posts == 1
    failed = await world.reload(post)
    assert (failed.status, failed.attempt, failed.error_code) == ("failed", 0, "deadline_passed")
    assert [kind for kind, _ in await told(world, post)] == ["held", "held", "failed"]


async def test_news_in_any_order_and_twice_leave_the_newest(world: Any, account: Any) -> None:
    post = await world.post(account_id=account.id, user_id=account.user_id)
    for version, status in ((4, "inactive"), (2, "inactive"), (3, "active"), (4, "inactive"), (2, "inactive")):
        await world.hear(account, contract.AccountUpdated, version, status)
    assert (await world.reload(post)).held
    for version, status in ((6, "active"), (5, "expired"), (6, "active")):
        await world.hear(account, contract.AccountUpdated, version, status)
    assert not (await world.reload(post)).held
    assert await told(world, post) == [("held", "account_paused"), ("held", "account_active")]


async def test_a_disconnection_heard_after_the_reconnection_cancels_what_was_made_before(world: Any, account: Any) -> None:
    common = {"account_id": account.id, "user_id": account.user_id}
    many = [await world.post(**common) for _ in range(2)]
    sent = await world.post(**moving(account))
    when = await _now(world)
    new = await world.post(**common)
    new_sent = await world.post(**moving(account))
    await world.hear(account, contract.AccountConnected, 6)
    for _ in range(2):
        await world.hear(account, contract.AccountDisconnected, 5, time=when)
    assert [(await world.reload(post)).status for post in (*many, new)] == ["cancelled", "cancelled", "scheduled"]
    assert [(await world.reload(post)).cancel_at is None for post in (sent, new_sent)] == [False, True]
    assert await told(world, many[0]) == [("cancelled", "account_disconnected")]
    await world.hear(account, contract.AccountUpdated, 4, "inactive", time=when)
    assert (await world.reload(new)).status == "scheduled"


@pytest.mark.parametrize(
    ("wanted", "code", "status"),
    [
        (True, "account_not_found", "cancelled"),
        (True, "tiktok_refused", "failed"),
        (False, "tiktok_refused", "cancelled"),
    ],
)
async def test_what_the_publisher_did_not_send_for_a_disconnected_account_is_cancelled(
    world: Any, account: Any, wanted: bool, code: str, status: str
) -> None:
    post = await world.post(**moving(account, cancel_at=None if wanted else utc_now()))
    failed = {"code": code, "message": "Gone.", "retryable": False}
    now = await report(world, post, publisher_contract.PublishFailed, **failed)
    expected_code = code if status == "failed" else "account_disconnected"
    assert (now.status, now.error_code, now.cancel_at) == (status, expected_code, None)
    expected = ("cancelled", "account_disconnected") if status == "cancelled" else ("failed", None)
    assert await told(world, post) == [expected]


async def test_a_post_that_waits_at_the_publisher_says_for_what(world: Any, account: Any) -> None:
    post = await world.post(**moving(account))
    wait = {"code": "account_paused", "message": "It is paused.", "hint": "Set it to active.", "until": None}
    deferred = await report(world, post, publisher_contract.PublishDeferred, **wait)
    assert (deferred.status, deferred.attempt, deferred.forecast_at) == ("deferred", 1, None)
    assert deferred.sweep_at is not None
    shown = post_status(deferred, None)
    assert (shown["next_step"], shown["next_step_at"]) == ("wait_for_account", None)
    assert shown["reason"] == {"code": "account_paused", "message": "It is paused.", "hint": "Set it to active."}
    assert post_json(deferred)["error_code"] == "account_paused"
    assert await report(world, post, publisher_contract.PublishDeferred, sequence=9, again=True, **wait) == replace(
        deferred, publisher_sequence=9
    )
    expired = await report(world, post, publisher_contract.PublishDeferred, sequence=12, **{**wait, "code": "account_expired"})
    assert (expired.error_code, expired.version) == ("account_expired", deferred.version + 1)


async def test_a_retry_of_a_paused_account_is_held_and_tells_it(world: Any) -> None:
    account = await world.account(status="inactive")
    post = await world.post(**moving(account))
    failed = {"code": "tiktok_busy", "message": "Busy.", "retryable": True}
    now = await report(world, post, publisher_contract.PublishFailed, **failed)
    assert (now.status, now.held, now.next_attempt_at is None) == ("retry_scheduled", True, False)
    assert await told(world, post) == [("retry_scheduled", None), ("held", "account_paused")]
    assert (await world.claim()).posts == 0


@pytest.mark.parametrize(("before", "after"), [("active", "inactive"), ("expired", "active")])
async def test_moved_to_another_account_it_is_held_or_goes_on_and_tells_it(world: Any, before: str, after: str) -> None:
    user_id = uuid7()
    old, new = await world.account(user_id, status=before), await world.account(user_id, status=after)
    later = utc_now() + timedelta(hours=1)
    post = await world.post(
        account_id=old.id, user_id=user_id, media_id=await world.media(user_id), next_attempt_at=later,
        held=before != "active", held_reason=old.hold_reason,
    )  # fmt: skip
    given = {"tiktok_account_id": new.id}
    wanted = want_change(post, given, now=utc_now(), allowed_hosts=frozenset())
    command = UpdatePost(post_id=post.id, changes=GivenFields())
    envelope = wrap(command, service="gateway", subject="x", context=Context(user_id=user_id))
    plan = EditPlan.of(wanted, Surroundings(new.id))
    async with world.database.transaction() as tx:
        await update_post(
            tx, world.outbox, world.waker, post.id, given, plan, envelope, user_id=user_id, allowed_hosts=frozenset()
        )
    now = await world.reload(post)
    assert (now.held, now.next_attempt_at) == (after != "active", later)
    expected = "account_paused" if after == "inactive" else "account_active"
    assert await told(world, post) == [("updated", None), ("held", expected)]


async def test_hiding_is_told_once(world: Any, account: Any) -> None:
    post = await world.post(**moving(account, status="published"))
    async with world.database.transaction() as tx:
        asked, context = Asked(post.state), Context(user_id=post.user_id)
        await cancel_post(tx, world.outbox, post.id, post.user_id, asked, context=context)
    hidden = await world.reload(post)
    for _ in range(2):
        with pytest.raises(Problem, match="no such post"):
            async with world.database.transaction() as tx:
                await cancel_post(tx, world.outbox, post.id, post.user_id, Asked(post.state), context=Context())
    (envelope,) = await world.told()
    assert (envelope.key, envelope.sequence_number) == ("scheduler.post.updated.v1", hidden.version)
    assert envelope.data["changes"] == {"deleted_at": [None, rfc3339(hidden.deleted_at)]}
    assert await world.reload(post) == hidden


async def test_holds_of_before_say_why_in_todays_words(empty_database: Callable[[str], Awaitable[str]]) -> None:
    url = await empty_database("scheduler_before_hold_reasons")
    await upgrade("scheduler", url, "0003")
    connection = await asyncpg.connect(url)
    try:
        for reason in ("account_inactive", "account_expired", None):
            await connection.execute(
                "INSERT INTO posts (id, user_id, status, mode, transfer, held, held_reason)"
                " VALUES (gen_random_uuid(), gen_random_uuid(), 'scheduled', 'direct', 'upload', $1::text IS NOT NULL, $1)",
                reason,
            )
        await upgrade("scheduler", url)
        rows = await connection.fetch("SELECT held_reason FROM posts ORDER BY held_reason")
    finally:
        await connection.close()
    assert [row["held_reason"] for row in rows] == ["account_expired", "account_paused", None]


async def test_made_on_a_paused_account_it_tells_both(world: Any) -> None:
    account = await world.account(status="inactive")
    fields = PostFields(
        tiktok_account_id=account.id, caption="x", privacy_level="SELF_ONLY", media_id=await world.media(account.user_id),
        scheduled_time=utc_now() + timedelta(hours=1),
    )  # fmt: skip
    wanted = want_post(fields, now=utc_now(), allowed_hosts=frozenset())
    command = CreatePost(**fields.model_dump())
    envelope = wrap(command, service="gateway", subject="x", context=Context(user_id=account.user_id))
    async with world.database.transaction() as tx:
        candidate = Candidate(wanted, Surroundings(account.id))
        post = await create_post(tx, world.outbox, world.waker, candidate, envelope)
    assert await told(world, post) == [("scheduled", None), ("held", "account_paused")]
    assert world.woken == []


async def _now(world: Any) -> Any:
    async with world.database.read() as connection:
        return (await connection.exec_driver_sql("SELECT clock_timestamp()")).scalar_one()
