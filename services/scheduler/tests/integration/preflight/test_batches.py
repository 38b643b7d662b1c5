"""Checks before the due time, many at once: by whichever replica, within limits, and never in the way of what is due."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from common.clock import utc_now
from scheduler.clients.accounts import AccountsClient
from scheduler.loops.preflight import FULL_PAUSE_S, Preflight
from scheduler.storage.claim import ClaimLimits
from scheduler.storage.preflight import take_unchecked
from scheduler.usecases.claim_due_posts import claim_due_posts
from scheduler.usecases.surroundings import Surveyor

pytestmark = pytest.mark.integration


async def test_replicas_share_the_posts_and_ask_once_for_each_account(desk: Any) -> None:
    for _ in range(30):
        await desk.post()
    checks = replace(desk.checks, limits=replace(desk.checks.limits, batch=10, lease=timedelta(minutes=1)))
    taken = [count for count in await asyncio.gather(*(checks.check_batch() for _ in range(4))) if count]
    # A row that another replica takes at that very moment may leave a batch one short; the next look has what is left.
    taken += [count for count in [await checks.check_batch()] if count]
    assert (sum(taken), max(taken)) == (30, 10)
    assert desk.asked.count("account") == len(taken)
    assert desk.asked.count("creator") <= len(taken)


async def test_a_replica_that_dies_loses_no_check(desk: Any) -> None:
    await desk.post()
    limits = replace(desk.checks.limits, lease=timedelta(minutes=1))
    async with desk.world.database.transaction() as tx:
        assert len(await take_unchecked(tx.connection, limits)) == 1
    assert await desk.check() == 0
    await desk.world.execute("UPDATE posts SET check_after = now() - interval '1 second'")
    assert await desk.check() == 1


async def test_what_becomes_due_while_others_are_asked_is_claimed_and_not_touched(desk: Any) -> None:
    """No row is locked while TikTok is asked, and findings about what has left meanwhile are dropped."""
    post = await desk.post()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> tuple[int, Any]:
        reached.set()
        await go_on.wait()
        answer: tuple[int, Any] = desk.creator(privacy_level_options=[])
        return answer

    desk.creator_answer = slow
    checking = asyncio.create_task(desk.check())
    await asyncio.wait_for(reached.wait(), 60)
    await desk.world.execute("UPDATE posts SET next_attempt_at = now()")
    async with desk.world.database.transaction() as tx:
        assert (await claim_due_posts(tx, desk.world.outbox, ClaimLimits())).posts == 1
    go_on.set()
    assert await asyncio.wait_for(checking, 60) == 1
    now = await desk.world.reload(post)
    assert (now.status, now.warnings, now.version) == ("due", [], post.version + 1)
    assert [told.key for told in await desk.world.told()] == ["scheduler.post.due.v1"]


async def test_who_never_answers_does_not_hold_up_the_next_batch(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.usecases.check_before_due.ASK_SECONDS", 0.1)
    post = await desk.post()

    async def never() -> tuple[int, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    desk.account_answer = never
    desk.object.unlink()
    assert await asyncio.wait_for(desk.check(), 60) == 1
    assert await desk.codes(post) == ["media_lost"]


@pytest.mark.parametrize("hanging", ["creator", "account"])
async def test_users_whose_neighbours_hang_do_not_hold_up_the_others(
    desk: Any, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    """As many as are judged at once: each leaves its place after its time."""
    monkeypatch.setattr("scheduler.usecases.check_before_due.ASK_SECONDS", 1.5)
    monkeypatch.setattr("scheduler.usecases.check_before_due.USER_SECONDS", 1.5)
    hung = [await desk.world.account() for _ in range(2)]
    for account in hung:
        await desk.post(user_id=account.user_id, account_id=account.id)
    last = await desk.post(next_attempt_at=utc_now() + timedelta(minutes=6))
    desk.object.unlink()
    original, entered = Surveyor.look_around, list[UUID]()

    async def look_around(self: Surveyor, wanted: Any, user_id: UUID, **more: Any) -> Any:
        if user_id != desk.user_id:
            entered.append(user_id)
            await asyncio.Event().wait()
        return await original(self, wanted, user_id, **more)

    if hanging == "creator":
        monkeypatch.setattr(Surveyor, "look_around", look_around)
    else:
        monkeypatch.setattr(AccountsClient, "look_up", _only_for(desk))
    checks = replace(desk.checks, limits=replace(desk.checks.limits, parallel=2, again_after=timedelta(minutes=1)))
    assert await checks.check_batch() == 3
    assert await desk.codes(last) == ["media_lost"]
    assert len(entered) == (2 if hanging == "creator" else 0)
    # They are looked at again in their turn, not at once.
    assert await checks.check_batch() == 0


def _only_for(desk: Any) -> Any:
    original = AccountsClient.look_up

    async def look_up(self: AccountsClient, user_id: UUID, account_id: UUID, **arguments: Any) -> Any:
        if user_id != desk.user_id:
            await asyncio.Event().wait()
        return await original(self, user_id, account_id, **arguments)

    return look_up


async def test_a_batch_that_takes_too_long_is_given_up_where_it_stands(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.usecases.check_before_due.JUDGE_SECONDS", 0.2)
    post = await desk.post()
    hangs = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        hangs.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Surveyor, "look_around", hang)
    assert await desk.check() == 1
    assert hangs.is_set()
    assert (await desk.world.reload(post)).warnings == []
    monkeypatch.undo()
    assert (await desk.check(), await desk.check()) == (1, 0)


@pytest.mark.parametrize(
    "column", ["privacy_level = 'NOBODY'", "hashtags = '[1]'", "mode = 'carrier pigeon'", "caption = repeat('x', 30000)"]
)
async def test_a_row_that_cannot_be_read_says_so_and_loses_no_other_its_checks(desk: Any, column: str) -> None:
    """Neither another post of the same user nor those of others; at its time the claim would fail it."""
    bad, good = await desk.post(), await desk.post()
    other = await desk.world.account()
    stranger = await desk.post(user_id=other.user_id, account_id=other.id)
    await desk.world.execute(f"UPDATE posts SET {column} WHERE id = :id", id=bad.id)
    desk.object.unlink()
    assert await desk.check() == 3
    assert (await desk.codes(bad), await desk.codes(good)) == (["post_unreadable"], ["media_lost"])
    assert await desk.codes(stranger) == ["media_not_found"]
    assert await desk.check() == 3
    assert len(await desk.world.told()) == 3


async def test_full_batches_are_spread_over_time(desk: Any) -> None:
    for _ in range(3):
        await desk.post()
    loop = Preflight(replace(desk.checks, limits=replace(desk.checks.limits, batch=2)))
    first, second = await loop.step(), await loop.step()
    assert (first.done, first.more, first.next_in) == (2, False, FULL_PAUSE_S)
    assert (second.done, second.more, second.next_in) == (1, False, None)


async def test_what_was_never_looked_at_comes_first(desk: Any) -> None:
    """While TikTok is away, what could not be checked is not looked at again and again before all others."""
    desk.creator_answer = (502, {"type": "about:blank", "status": 502, "code": "tiktok_unavailable", "detail": ""})
    due = utc_now() + timedelta(minutes=2)
    posts = [await desk.post(next_attempt_at=due + timedelta(minutes=number)) for number in range(3)]
    desk.checks = replace(desk.checks, limits=replace(desk.checks.limits, batch=1))
    loop = Preflight(desk.checks)
    for number, post in enumerate(posts, start=1):
        await loop.step()
        assert await desk.codes(post) == ["privacy_unchecked"]
        assert unchecked() == 3 - number
    await loop.step()
    assert unchecked() == 0


def unchecked() -> float | None:
    return REGISTRY.get_sample_value("cuepost_preflight_unchecked")


async def test_a_mistake_of_our_own_is_not_taken_for_an_answer(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.post()

    async def broken(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(AccountsClient, "look_up", broken)
    with pytest.raises(TypeError):
        await desk.check()
