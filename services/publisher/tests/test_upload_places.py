"""Places for uploads: bounded, shared between users and their accounts, held for nothing but the bytes."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from common.ids import uuid7
from common.testing.eventually import eventually
from publisher.domain.job import State, Step
from publisher.runner.upload_places import WAITING_PER_ACCOUNT, NoPlace, UploadPlaces
from publisher.usecases.cancel_job import CancelOutcome, cancel_job

ANN, BOB, EVE = uuid7(), uuid7(), uuid7()
ONE, OTHER, THIRD, FOURTH = uuid7(), uuid7(), uuid7(), uuid7()


async def test_one_account_has_half_of_what_its_user_has_and_a_user_no_more_than_are_left_free() -> None:
    places = UploadPlaces(8, patience=0.01)

    async def is_refused(user_id: Any, account_id: Any) -> bool:
        assert not places.has_room(user_id, account_id)
        with pytest.raises(NoPlace):
            async with places.place(user_id, account_id):
                pass
        return True

    async with AsyncExitStack() as stack:

        async def take(user_id: Any, account_id: Any) -> None:
            assert places.has_room(user_id, account_id)
            await stack.enter_async_context(places.place(user_id, account_id))

        for account in (ONE, ONE):
            await take(ANN, account)
        assert await is_refused(ANN, ONE)
        for account in (OTHER, THIRD):
            await take(ANN, account)
        assert await is_refused(ANN, FOURTH), "whatever the number of accounts, a user alone has half"
        for _ in range(2):
            await take(BOB, FOURTH)
        assert await is_refused(BOB, uuid7())
        await take(EVE, uuid7())
        assert await is_refused(EVE, uuid7())
        assert (places.taken, places.taken_by(ONE)) == (7, 2)
        await take(uuid7(), uuid7())
        assert await is_refused(uuid7(), uuid7()), "none is left"
    assert places.taken == 0


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_however_few_there_are_one_is_for_anybody(number: int) -> None:
    async with UploadPlaces(number, patience=0.01).place(ANN, ONE):
        pass


async def test_who_waits_gets_a_place_in_turn_and_past_a_user_that_has_its_share() -> None:
    places = UploadPlaces(2, patience=10)
    order: list[str] = []
    leave = asyncio.Event()

    async def job(name: str, user: Any, account: Any) -> None:
        async with places.place(user, account):
            order.append(name)
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        jobs = (("a1", ANN, ONE), ("a2", ANN, OTHER), ("b1", BOB, THIRD), ("a3", ANN, OTHER), ("b2", BOB, THIRD))
        for name, user, account in jobs:
            group.create_task(job(name, user, account))
        await eventually(lambda: len(order) == 2, 60)
        assert order == ["a1", "b1"]
        leave.set()
    assert sorted(order[2:]) == ["a2", "a3", "b2"]
    assert order.index("a2") < order.index("a3")
    assert places.taken == 0


async def test_who_is_broken_off_leaves_no_place_behind() -> None:
    places = UploadPlaces(1, patience=10)

    async def job() -> None:
        async with places.place(ANN, ONE):
            pass

    async with places.place(ANN, ONE):
        waiting = asyncio.create_task(job())
        granted = asyncio.create_task(job())
        await asyncio.sleep(0)
        waiting.cancel()
    # The place was handed to it in this very moment.
    granted.cancel()
    await asyncio.gather(waiting, granted, return_exceptions=True)
    async with places.place(ANN, ONE):
        assert places.taken == 1


async def test_more_than_some_of_one_account_do_not_even_wait() -> None:
    places = UploadPlaces(1, patience=10)

    async def job() -> None:
        async with places.place(ANN, ONE):
            pass

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(places.place(ANN, ONE))
        waiting = [asyncio.create_task(job()) for _ in range(WAITING_PER_ACCOUNT)]
        await asyncio.sleep(0)
        with pytest.raises(NoPlace):
            async with places.place(ANN, ONE):
                pass
    await asyncio.gather(*waiting)


async def test_slow_uploads_of_one_users_accounts_hold_up_no_other_user(world: Any) -> None:
    """The slow ones would take every place, each account its own; TikTok takes none of their bytes."""
    ann = uuid7()
    names = [f"slow_{number}" for number in range(3)]
    for name in names:
        await world.driver.admin("POST", "creators", {"username": name})
    slow, quick = [await world.account(name) for name in names], await world.account("demo_private")
    media = world.media()
    blocked = [world.post(account, media, user_id=ann) for account in slow]
    for account in slow:
        await world.driver.fault("upload", times=1, delay=600, open_id=world.accounts.tokens[account]["open_id"])
    post = world.post(quick, media, content={"privacy_level": "SELF_ONLY"})
    async with world.replica(upload_concurrency=2) as replica:
        await world.accept(*blocked)
        await eventually(lambda: replica.tools.places.taken == 1, 60)
        for other in blocked:
            await world.told_of(other, "started")
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        assert replica.tools.places.taken == 1
        await world.driver.admin("DELETE", "faults")


async def test_a_deadline_that_passes_while_it_waits_for_a_place_ends_it(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media(), publish_before=await world.database_now() + timedelta(seconds=12))
    async with world.replica(upload_concurrency=1) as replica:
        async with replica.tools.places.place(uuid7(), account):
            await world.accept(post)
            await eventually(lambda: _prepared(world, post), 60)
            await asyncio.sleep(max(0.0, (post.publish_before - await world.database_now()).total_seconds()))
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "deadline_passed"
    assert not await world.publications(post)


async def test_without_a_place_it_is_handed_back(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    async with world.replica(upload_concurrency=1) as replica:
        replica.tools.places._patience = 0.05
        async with replica.tools.places.place(uuid7(), account):
            await world.accept(post)

            async def is_handed_back() -> bool:
                job = await world.job(post)
                return job.checkpoint.step is Step.INIT_DONE and job.lease_owner is None

            await eventually(is_handed_back, 60)
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    assert await world.told(post) == ["started", "submitted", "succeeded"]
    assert len(await world.inits(post)) == 1


async def test_a_first_chunk_that_never_left_may_still_be_cancelled(world: Any) -> None:
    """The connection is refused: not a byte is out, so the intent is taken back."""
    post = world.post(await world.account(), world.media())
    async with world.replica() as replica:
        _refuse_connections(replica)
        await world.accept(post)
        await eventually(lambda: world.waits(post, "tiktok_upload_unavailable"), 60)
        checkpoint = (await world.job(post)).checkpoint
        assert (checkpoint.step, checkpoint.irrevocable_since, checkpoint.last_chunk_intended) == (Step.INIT_DONE, None, False)
        async with world.database.transaction() as tx:
            assert await cancel_job(tx, post.post_id, 1, outbox=world.outbox, replica="test") is CancelOutcome.CANCELLED


async def test_a_first_chunk_of_which_bytes_may_have_left_may_not(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    await world.driver.fault("upload", status=503, times=20)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: world.waits(post, "tiktok_upload_unavailable"), 60)
        assert (await world.job(post)).checkpoint.irrevocable_since is not None
        async with world.database.transaction() as tx:
            assert await cancel_job(tx, post.post_id, 1, outbox=world.outbox, replica="test") is CancelOutcome.TOO_LATE


async def test_a_deadline_is_told_in_time_while_tiktok_has_no_byte(world: Any) -> None:
    post = world.post(
        await world.account(), world.media(71_000_000), publish_before=await world.database_now() + timedelta(seconds=4)
    )
    await world.driver.fault("upload", status=503, times=50)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: _deferred(world, post))
        # The next wait would be two minutes.
        await world.due_now(post, deferrals=6)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "deadline_passed"


def _refuse_connections(replica: Any) -> None:
    init = replica.tools.tiktok.init_video

    async def to_nowhere(*arguments: Any) -> Any:
        answer = await init(*arguments)
        return replace(answer, upload_url="http://127.0.0.1:9/nobody")

    replica.tools.tiktok.init_video = to_nowhere


async def _deferred(world: Any, post: Any) -> bool:
    """Whether it waits, or has ended already on a slow machine."""
    job = await world.job(post)
    waits = await world.waits(post, "tiktok_upload_unavailable") and job.lease_owner is None
    return bool(waits or job.checkpoint.state is State.FAILED)


async def _prepared(world: Any, post: Any) -> bool:
    return (await world.job(post)).checkpoint.step is Step.INIT_DONE
