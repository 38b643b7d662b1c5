"""Jobs that wait for their account: told once, without a forecast, and under way again as soon as it is active."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from common.clock import utc_now
from common.contracts import accounts as contract
from common.errors import Problem
from common.ids import uuid7
from common.testing.eventually import eventually
from publisher.domain.job import Lane, State, Step
from publisher.storage import jobs
from publisher.storage.tables import accounts, publish_jobs
from publisher.usecases.cancel_job import CancelOutcome, cancel_job
from publisher.usecases.follow_account import follow_account

UPLOAD_STEP = {"state": "running", "step": "init_done", "publish_id": "v~1", "upload_url": "http://127.0.0.1:9/x"}


def news(
    account_id: UUID, status: str = "active", kind: type[contract.AccountEvent] = contract.AccountUpdated
) -> contract.AccountEvent:
    extra = {"reconnected": True, "reason": "gone"}
    fields = {
        "account_id": account_id,
        "user_id": uuid7(),
        "tiktok_user_id": "t",
        "username": "ann",
        "display_name": "Ann",
        "status": status,
        "scopes": [],
        **{name: value for name, value in extra.items() if name in kind.model_fields},
    }
    return kind.model_validate(fields)


async def tell(world: Any, event: contract.AccountEvent, version: int) -> int:
    async with world.database.transaction() as tx:
        return await follow_account(tx, event, version, wakes=[])


async def is_waiting(world: Any, post: Any) -> bool:
    return bool((await world.job(post)).awaits_account)


@pytest.mark.parametrize("reason", ["account_paused", "account_expired"])
async def test_it_goes_on_at_the_news_and_costs_no_attempt(world: Any, reason: str) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.status = "inactive" if reason == "account_paused" else "active"
    world.accounts.problem = Problem(409, reason, "Expired.") if reason == "account_expired" else None
    async with world.replica():
        await world.accept(post)
        deferred = await world.told_of(post, "deferred")
        assert (deferred["code"], deferred["until"]) == (reason, None)
        assert await is_waiting(world, post)
        world.accounts.status, world.accounts.problem = "active", None
        next_look_at = (await world.job(post)).run_at
        assert await tell(world, news(account), 1) == 1
        await world.state(post, State.SUCCEEDED)
    assert await world.told(post) == ["started", "deferred", "started", "submitted", "succeeded"]
    events = await world.events(post)
    assert events[2].time < next_look_at - timedelta(seconds=30)
    assert {event.data["attempt"] for event in events} == {1}
    assert len(await world.publications(post)) == 1


async def test_news_between_the_answer_and_the_wait_are_not_missed(world: Any) -> None:
    """Accounts said `inactive`, the event of its end came, and only then is the wait stored: it begins due."""
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.status = "inactive"

    async def resume() -> None:
        world.accounts.status, world.accounts.meanwhile = "active", None
        await tell(world, news(account), 1)

    world.accounts.meanwhile = resume
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED, timeout=10)
    assert await world.told(post) == ["started", "submitted", "succeeded"]


async def test_looking_by_itself_it_tells_nothing_twice(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.status = "inactive"
    async with world.replica():
        await world.accept(post)
        await world.told_of(post, "deferred")
        asked = world.accounts.asked
        await world.due_now(post)
        await eventually(lambda: world.accounts.asked > asked, 60)
        await eventually(lambda: is_waiting(world, post), 60)
        assert await world.told(post) == ["started", "deferred"]
        world.accounts.problem = Problem(409, "account_expired", "Expired.")
        await world.due_now(post)

        async def told_anew() -> bool:
            return await world.told(post) == ["started", "deferred", "deferred"]

        await eventually(told_anew, 60)
    assert (await world.events(post))[-1].data["code"] == "account_expired"


async def test_a_job_that_waits_for_its_account_can_be_cancelled(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.status = "inactive"
    async with world.replica():
        await world.accept(post)
        await world.told_of(post, "deferred")
        async with world.database.transaction() as tx:
            assert await cancel_job(tx, post.post_id, 1, outbox=world.outbox, replica="test") is CancelOutcome.CANCELLED
        world.accounts.status = "active"
        assert await tell(world, news(account), 1) == 0
    assert await world.told(post) == ["started", "deferred", "cancelled"]
    assert not await world.inits(post)


@pytest.mark.parametrize(("problem", "words"), [(None, "paused"), (Problem(409, "account_expired", "Expired."), "permission")])
async def test_a_deadline_that_passes_meanwhile_says_what_it_waited_for(
    world: Any, problem: Problem | None, words: str
) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.status, world.accounts.problem = "inactive", problem
    async with world.replica():
        await world.accept(post)
        await world.told_of(post, "deferred")
        await world.due_now(post, publish_before=await world.database_now())
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("deadline_passed", False)
    assert words in failed["message"]
    assert "later deadline" in failed["hint"]
    assert not await world.inits(post)


async def test_jobs_are_woken_in_the_order_in_which_they_were_due(world: Any) -> None:
    account, other = uuid7(), uuid7()
    now = utc_now()
    posts = [world.post(account, None, due_at=now - timedelta(seconds=number)) for number in (3, 9, 1, 7, 5)]
    rest = world.post(other, None)
    await world.accept(*posts, rest)
    await _waiting(world, account, other)
    assert await tell(world, news(account), 1) == 5
    async with world.database.transaction() as tx:
        claim = await jobs.claim(tx.connection, Lane.SEND, owner="x", lease=timedelta(seconds=9), limit=10)
    assert [job.post_id for job in claim.jobs] == [posts[place].post_id for place in (1, 3, 4, 0, 2)]
    assert not any(job.awaits_account for job in claim.jobs)
    assert {job.account_version for job in claim.jobs} == {1}


async def test_only_news_that_are_newer_and_good_wake(world: Any) -> None:
    account = uuid7()
    await world.accept(world.post(account, None))
    await _waiting(world, account)
    told = [
        await tell(world, news(account, "inactive"), 5),
        await tell(world, news(account), 4),
        await tell(world, news(account, "expired", contract.AccountExpired), 6),
        await tell(world, news(account, kind=contract.AccountDisconnected), 7),
        await tell(world, news(account), 7),
    ]
    assert told == [0] * 5
    async with world.database.read() as connection:
        assert (await connection.execute(select(accounts.c.status, accounts.c.version))).one() == ("disconnected", 7)
    assert await tell(world, news(account, kind=contract.AccountConnected), 8) == 1


async def test_a_job_in_hand_is_not_woken(world: Any) -> None:
    account = uuid7()
    await world.accept(world.post(account, None))
    async with world.database.transaction() as tx:
        await jobs.claim(tx.connection, Lane.SEND, owner="x", lease=timedelta(seconds=9), limit=10)
        await tx.connection.execute(update(publish_jobs).values(awaits_account=True))
    assert await tell(world, news(account), 1) == 0


@pytest.mark.parametrize(
    ("status", "disconnected", "told"),
    [
        ("inactive", False, ["deferred"]),
        ("active", True, ["failed"]),
        ("active", False, ["started", "submitted", "succeeded"]),
    ],
)
async def test_an_account_that_went_away_after_the_init_is_asked_about_before_the_first_byte(
    world: Any, status: str, disconnected: bool, told: list[str]
) -> None:
    """The event is a reason to ask, never the answer: an older one that comes late stops nothing."""
    account = await world.account()
    post = world.post(account, world.media())
    async with world.replica() as replica:
        init = replica.tools.tiktok.init_video

        async def then_paused(*arguments: Any) -> Any:
            answer = await init(*arguments)
            await tell(world, news(account, "inactive"), 3)
            world.accounts.status, world.accounts.disconnected = status, disconnected
            return answer

        replica.tools.tiktok.init_video = then_paused
        await world.accept(post)
        await world.told_of(post, told[-1])
        job = await world.job(post)
        replica.tools.tiktok.init_video = init
    assert (await world.told(post))[-len(told) :] == told
    if told == ["deferred"]:
        assert (job.checkpoint.step, job.checkpoint.irrevocable_since) == (Step.INIT_DONE, None)
        assert (await world.event(post, "deferred"))["code"] == "account_paused"
    assert len(await world.publications(post)) == (told[-1] == "succeeded")


async def test_bytes_under_way_of_a_disconnected_account_end_properly(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault("processing", stuck=True)
    async with world.replica() as replica:
        await world.accept(post)
        await world.told_of(post, "submitted")
        world.accounts.disconnected = True
        replica.tools.accounts._cache.clear()
        await tell(world, news(account, kind=contract.AccountDisconnected), 2)
        await world.driver.http.delete(f"{world.driver.base_url}/_simulator/faults")
        (item,) = await world.inits(post)
        asked = world.accounts.asked
        await world.due_now(post)
        await eventually(lambda: world.accounts.asked > asked, 60)
        assert (await world.job(post)).checkpoint.state is State.RUNNING
        assert item["status"] != "FAILED"
        assert "deferred" not in await world.told(post)


async def test_a_token_that_stays_refused_waits_for_the_owner(world: Any) -> None:
    account = await world.account()
    good = world.accounts.tokens[account]
    world.accounts.tokens[account] = {**good, "access_token": "act.stale"}
    post = world.post(account, world.media())
    async with world.replica():
        await world.accept(post)
        deferred = await world.told_of(post, "deferred")
        assert (deferred["code"], deferred["until"]) == ("tiktok_access_token_invalid", None)
        assert len(world.accounts.refused) == 1
        world.accounts.tokens[account] = good
        await tell(world, news(account, kind=contract.AccountConnected), 4)
        await world.state(post, State.SUCCEEDED)
    assert len(await world.publications(post)) == 1


async def _waiting(world: Any, *account_ids: UUID) -> None:
    async with world.database.transaction() as tx:
        later = publish_jobs.c.run_at + timedelta(minutes=5)
        statement = update(publish_jobs).where(publish_jobs.c.account_id.in_(account_ids))
        await tx.connection.execute(statement.values(awaits_account=True, run_at=later))
