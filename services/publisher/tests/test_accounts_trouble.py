"""Accounts that wait, are gone, or cannot be looked up; tokens that TikTok refuses."""

import hashlib
from typing import Any

import pytest

from common.errors import Problem
from common.testing.eventually import eventually
from publisher.domain.job import State

STATUS = "/v2/post/publish/status/fetch/"


async def told(world: Any, post: Any, name: str) -> Any:
    async def heard() -> bool:
        return name in await world.told(post)

    await eventually(heard, 60)
    return await world.event(post, name)


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (Problem(409, "account_expired", "Expired.", hint="Connect again."), "active", "account_expired"),
        (None, "inactive", "account_paused"),
    ],
)
async def test_a_waiting_account_defers_and_costs_no_attempt(
    world: Any, problem: Problem | None, status: str, code: str
) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.problem, world.accounts.status = problem, status
    async with world.replica():
        await world.accept(post)
        deferred = await told(world, post, "deferred")
    assert deferred["code"] == code
    job = await world.job(post)
    assert job.checkpoint.state is State.RUNNING
    assert job.reason["code"] == code
    assert not await world.inits(post)


async def test_a_disconnected_account_fails_before_anything_is_sent(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.problem = Problem(404, "account_not_found", "Gone.")
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("account_not_found", False)


@pytest.mark.parametrize("status", [503, 403])
async def test_accounts_away_is_waited_for(world: Any, status: int) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.problem = Problem(status, "tiktok_unavailable", "Away.")
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: world.accounts.asked >= 1, 60)
        world.accounts.problem = None
        await world.state(post, State.SUCCEEDED)


async def test_a_refused_token_is_refreshed_once_by_its_hash(world: Any) -> None:
    account = await world.account()
    good = world.accounts.tokens[account]
    world.accounts.renewed = {account: good}
    world.accounts.tokens[account] = {**good, "access_token": "act.stale"}
    post = world.post(account, world.media())
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    assert set(world.accounts.refused) == {hashlib.sha256(b"act.stale").hexdigest()}
    assert len(await world.publications(post)) == 1


async def test_polls_that_stay_refused_end_unconfirmed(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault(STATUS, times=50, status=400, code="invalid_publish_id")
    async with world.replica(refused_patience_seconds=0):
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
    unconfirmed = await world.event(post, "unconfirmed")
    assert unconfirmed["code"] == "tiktok_invalid_publish_id"
    assert unconfirmed["publish_id"]


async def test_without_a_lookable_account_the_status_waits(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault("processing", stuck=True)
    async with world.replica() as replica:
        await world.accept(post)
        await told(world, post, "submitted")
        replica.tools.accounts._cache.clear()
        world.accounts.problem = Problem(409, "account_expired", "Expired.")
        deferred = await told(world, post, "deferred")
    assert deferred["code"] == "account_expired"
    assert (await world.job(post)).checkpoint.refused_since is not None
