"""An attempt of unknown outcome turns out to be live: later attempts that cannot have published stop with the same commit."""

from typing import Any

import pytest
from sqlalchemy import text

from common.testing.eventually import eventually
from publisher.domain.job import State

STATUS = "/v2/post/publish/status/fetch/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
BIG = 71_000_000
STOPPED = "earlier_attempt_published"


async def live_but_unconfirmed(world: Any, replica: Any, size: int = 1_000_000) -> Any:
    """Return a post whose first attempt is live at TikTok, which we do not know."""
    post = world.post(await world.account(), world.media(size))
    await world.accept(post)
    await world.state(post, State.SUCCEEDED)
    await eventually(lambda: _rests(world, post, 1))
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text(
                "UPDATE publish_jobs SET state = 'unconfirmed', outcome = NULL, tiktok_video_id = NULL, tiktok_status = NULL,"
                " run_at = now() + interval '1 hour', polls = 9"
            )
        )
    return post


def dismissing(post: Any) -> Any:
    return post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})


async def state_of(world: Any, post: Any, attempt: int) -> str:
    async with world.database.read() as connection:
        statement = text("SELECT state FROM publish_jobs WHERE post_id = :id AND attempt = :attempt")
        return str(await connection.scalar(statement, {"id": post.post_id, "attempt": attempt}))


async def tell(world: Any, post: Any, replica: Any) -> None:
    async with world.database.read() as connection:
        statement = text("SELECT publish_id FROM publish_jobs WHERE post_id = :id AND attempt = 1")
        publish_id = await connection.scalar(statement, {"id": post.post_id})
    assert await world.webhook(post, "complete", replica=replica, publish_id=publish_id) == 1


@pytest.mark.parametrize("moment", ["before the init", "between two chunks"])
async def test_a_later_attempt_without_its_last_chunk_is_stopped(world: Any, moment: str) -> None:
    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica, BIG)
        if moment == "before the init":
            await world.driver.fault(CREATOR_INFO, delay=30)
            await _forget_creator_info(world)
        else:
            await world.driver.fault("upload", skip=3, delay=30, delay_at="answer")
        await world.accept(dismissing(post))
        await eventually(lambda: _no_faults(world))
        await tell(world, post, replica)
        await eventually(lambda: _has(world, post, 1, "succeeded"))
        assert await state_of(world, post, 2) == "cancelled"
        await world.driver.admin("DELETE", "faults")
        stopped = await world.told_of(post, "cancelled")
        assert (stopped["attempt"], stopped["code"]) == (2, STOPPED)
        await eventually(lambda: not replica.lanes[0].running)
    assert len(await world.publications(post)) == 1


async def test_a_later_attempt_whose_last_chunk_may_be_out_goes_on(world: Any) -> None:
    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)
        await world.driver.fault("upload", delay=30, delay_at="answer")
        await world.accept(dismissing(post))
        await eventually(lambda: _no_faults(world))
        await tell(world, post, replica)
        await eventually(lambda: _has(world, post, 1, "succeeded"))
        assert await state_of(world, post, 2) == "running"
        await world.driver.admin("DELETE", "faults")
        await eventually(lambda: _has(world, post, 2, "succeeded"))
    assert "cancelled" not in await world.told(post)


async def test_an_attempt_told_only_after_the_truth_never_starts_and_hears_why(world: Any) -> None:
    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)
        await tell(world, post, replica)
        await eventually(lambda: _has(world, post, 1, "succeeded"))
        await world.accept(dismissing(post))
        await eventually(lambda: _has(world, post, 2, "cancelled"))
        assert (await world.event(post, "cancelled"))["code"] == STOPPED
        # Asked again, it answers with the truth about the post, too.
        await world.accept(dismissing(post))
    again = [event.data for event in await world.events(post) if event.data["again"]]
    assert {(data["attempt"], data.get("outcome")) for data in again} == {(1, "published"), (2, None)}
    assert len(await world.publications(post)) == 1


async def test_an_unknown_outcome_is_looked_at_again_and_in_the_end_not_any_more(world: Any) -> None:
    await world.driver.fault("processing", stuck=True)
    async with world.replica(unconfirmed_after_seconds=0.2) as replica:
        post = world.post(await world.account(), world.media())
        await world.accept(post)
        job = await world.state(post, State.UNCONFIRMED)
        assert job.run_at is not None
        looks = 0
        while (job := await world.job(post)).run_at is not None:
            assert job.checkpoint.polls == looks
            await world.due_now(post)
            replica.lanes[1].wake()
            looks += 1
            await eventually(lambda wanted=looks: _looked(world, post, wanted))
            await _forget_quotas(world)
    assert looks == 13
    assert job.checkpoint.state is State.UNCONFIRMED
    assert (await world.told(post)).count("unconfirmed") == 1


async def test_one_of_which_nothing_is_open_is_looked_at_no_more(world: Any) -> None:
    async with world.replica() as replica:
        post = world.post(await world.account(), world.media())
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        await eventually(lambda: _rests(world, post, 1))
        before = await world.job(post)
        assert before.tiktok_video_id is not None
        await world.due_now(post)
        replica.lanes[1].wake()
        await eventually(lambda: _is_done_with(world, post))
        after = await world.job(post)
    assert (after.checkpoint, after.tiktok_video_id) == (before.checkpoint, before.tiktok_video_id)


async def test_late_truth_by_a_look_alone(world: Any) -> None:
    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)
        await world.due_now(post)
        replica.lanes[1].wake()
        await world.state(post, State.SUCCEEDED)


async def test_a_late_failure_is_told(world: Any) -> None:
    await world.driver.fault("processing", stuck=True)
    async with world.replica(unconfirmed_after_seconds=0.2) as replica:
        post = world.post(await world.account(), world.media())
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
        await eventually(lambda: _rests(world, post, 1))
        publication = world.simulator.state.ledger.get((await world.job(post)).publish_id)
        world.simulator.state.processor.refuse(publication, "internal")
        await world.due_now(post)
        replica.lanes[1].wake()
        await world.state(post, State.FAILED)
    assert (await world.told(post))[-2:] == ["unconfirmed", "failed"]


@pytest.mark.parametrize(("status", "code"), [(500, None), (429, "rate_limit_exceeded")])
async def test_a_look_that_tiktok_does_not_answer_is_made_again_soon(world: Any, status: int, code: str | None) -> None:
    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)
        await world.driver.fault(STATUS, status=status, times=1_000, **({"code": code} if code else {}))
        await world.due_now(post)
        replica.lanes[1].wake()
        await eventually(lambda: _deferred(world, post))
        job = await world.job(post)
        assert (job.checkpoint.state, job.checkpoint.polls) == (State.UNCONFIRMED, 9)
        await world.driver.admin("DELETE", "faults")
        # A 429 is learned from: TikTok is left alone for a minute.
        await _forget_quotas(world)
        await world.due_now(post, deferrals=8)
        replica.lanes[1].wake()
        await world.state(post, State.SUCCEEDED)


async def test_many_unanswered_looks_are_left_to_the_plan(world: Any) -> None:
    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)
        await world.driver.fault(STATUS, status=500, times=100)
        await world.due_now(post, deferrals=8)
        replica.lanes[1].wake()
        await eventually(lambda: _looked(world, post, 10))
        assert (await world.job(post)).checkpoint.deferrals == 0


async def test_an_account_that_is_away_brings_its_looks_back_with_it(world: Any) -> None:
    from common.contracts import accounts as contract
    from common.errors import Problem
    from common.ids import uuid7
    from publisher.usecases.follow_account import follow_account

    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)
        replica.tools.accounts._cache.clear()
        world.accounts.problem = Problem(409, "account_expired", "Expired.")
        await world.due_now(post)
        replica.lanes[1].wake()
        await eventually(lambda: _looked(world, post, 10))
        assert (await world.job(post)).awaits_account
        world.accounts.problem = None
        fields = {"tiktok_user_id": "t", "username": "ann", "display_name": "Ann", "status": "active", "scopes": []}
        news = contract.AccountConnected(account_id=post.account_id, user_id=uuid7(), reconnected=True, **fields)
        async with world.database.transaction() as tx:
            assert await follow_account(tx, news, 1, wakes=[lane.wake for lane in replica.lanes]) == 1
        await world.state(post, State.SUCCEEDED)


async def test_a_fault_of_our_own_leaves_an_ended_attempt_as_it_is(world: Any) -> None:
    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)

        async def broken(*_: Any) -> Any:
            raise RuntimeError("ours")

        replica.tools.tiktok.status = broken
        await world.due_now(post, polls=2)
        replica.lanes[1].wake()
        await eventually(lambda: _deferred(world, post))
        await world.due_now(post, deferrals=8)
        replica.lanes[1].wake()
        await eventually(lambda: _looked(world, post, 3))
        job = await world.job(post)
    assert (job.checkpoint.state, job.run_at is not None) == (State.UNCONFIRMED, True)
    assert "deferred" not in await world.told(post)


async def test_a_used_up_quota_puts_a_look_off(world: Any) -> None:
    from publisher.domain.tiktok_limits import STATUS as STATUS_LIMIT

    async with world.replica() as replica:
        post = await live_but_unconfirmed(world, replica)
        await _forget_quotas(world)
        await world.spend(post.account_id, STATUS_LIMIT)
        await world.due_now(post)
        replica.lanes[1].wake()
        await eventually(lambda: _awaits_quota(world, post))
        assert (await world.job(post)).checkpoint.polls == 9
        await world.pass_time(61)
        replica.lanes[1].wake()
        await world.state(post, State.SUCCEEDED)


async def _is_done_with(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return bool(job.run_at is None and job.lease_owner is None)


async def _looked(world: Any, post: Any, looks: int) -> bool:
    job = await world.job(post)
    return bool(job.checkpoint.polls == looks and job.lease_owner is None)


async def _deferred(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return bool(job.checkpoint.deferrals == 1 and job.lease_owner is None)


async def _awaits_quota(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return bool(job.awaits_quota is not None and job.lease_owner is None)


async def _rests(world: Any, post: Any, attempt: int) -> bool:
    job = await world.job(post)
    return bool(job.attempt == attempt and job.lease_owner is None)


async def _has(world: Any, post: Any, attempt: int, state: str) -> bool:
    return await state_of(world, post, attempt) == state


async def _no_faults(world: Any) -> bool:
    return not await world.driver.faults()


async def _forget_creator_info(world: Any) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("DELETE FROM creator_infos"))


async def _forget_quotas(world: Any) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("DELETE FROM tiktok_quotas"))
