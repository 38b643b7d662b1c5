"""What TikTok refuses for the account or the app is not the post's fault: its posts wait together, visibly, and cost no attempt."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, text, update

from common.contracts.accounts import AccountConnected, AccountDisconnected
from common.ids import uuid7
from common.testing.eventually import eventually
from publisher.domain.job import State, Step
from publisher.domain.outcomes import Reason
from publisher.storage import account_holds
from publisher.storage.tables import account_holds as holds
from publisher.usecases.follow_account import follow_account
from tiktok_simulator.driver import ALL_SCOPES

INIT = "/v2/post/publish/video/init/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
STATUS = "/v2/post/publish/status/fetch/"
BANNED = "spam_risk_user_banned_from_posting"
UNAUDITED = "unaudited_client_can_only_post_to_private_accounts"


async def line_of(world: Any, number: int, username: str = "demo_public", **fields: Any) -> list[Any]:
    account, media, now = await world.account(username), world.media(), await world.database_now()
    return [world.post(account, media, due_at=now - timedelta(seconds=number - place), **fields) for place in range(number)]


async def all_wait(world: Any, posts: list[Any], code: str) -> bool:
    found = [await world.job(post) for post in posts]
    return all(job.awaits_account and job.reason is not None and job.reason["code"] == code for job in found)


async def all_are(world: Any, posts: list[Any], state: State) -> bool:
    return [(await world.job(post)).checkpoint.state for post in posts] == [state] * len(posts)


async def all_sleep(world: Any, posts: list[Any], least: timedelta, most: timedelta) -> bool:
    found, now = [await world.job(post) for post in posts], await world.database_now()
    return all(job.lease_owner is None and least < job.run_at - now < most for job in found)


async def refused(world: Any) -> dict[str, int]:
    return dict((await world.driver.stats())["refused"])


async def look_now(world: Any, posts: list[Any]) -> None:
    """Let the time of the next look come, for the hold and for the post that looks."""
    async with world.database.transaction() as tx:
        await tx.connection.execute(update(holds).values(look_at=func.clock_timestamp()))
    await world.due_now(posts[0])


async def test_posts_of_a_banned_account_wait_together_and_go_on_in_order(world: Any) -> None:
    posts = await line_of(world, 3)
    await world.driver.admin("POST", "creators", {"username": "demo_public", "banned": True})
    async with world.replica():
        await world.accept(*posts)
        await eventually(lambda: all_wait(world, posts, f"tiktok_{BANNED}"), 60)
        assert await refused(world) == {BANNED: 1}
        for post in posts:
            deferred = await world.event(post, "deferred")
            assert (deferred["until"], deferred["attempt"], deferred["mode"]) == (None, 1, "direct")
            assert "appeal" in deferred["hint"]
        await look_now(world, posts)
        await eventually(lambda: _was_refused(world, BANNED, 2), 60)
        await eventually(lambda: all_wait(world, posts, f"tiktok_{BANNED}"), 60)
        await world.driver.admin("POST", "creators", {"username": "demo_public", "banned": False})
        await look_now(world, posts)
        await eventually(lambda: all_are(world, posts, State.SUCCEEDED), 60)
    assert [item["title"] for item in await world.driver.ledger()] == [post.content.title for post in posts]
    assert {event.data["attempt"] for post in posts for event in await world.events(post)} == {1}
    assert await refused(world) == {BANNED: 2}


@pytest.mark.parametrize("simulator_changes", [{"unaudited": True}])
async def test_an_app_that_is_not_audited_waits_until_the_account_is_private(world: Any) -> None:
    posts = await line_of(world, 2, content={"privacy_level": "SELF_ONLY"})
    async with world.replica():
        await world.accept(*posts)
        await eventually(lambda: all_wait(world, posts, f"tiktok_{UNAUDITED}"), 60)
        assert await refused(world) == {UNAUDITED: 1}
        assert (await world.job(posts[0])).checkpoint.step is Step.CREATOR_INFO
        await world.driver.admin("POST", "creators", {"username": "demo_public", "persona": "private"})
        await look_now(world, posts)
        await eventually(lambda: all_are(world, posts, State.SUCCEEDED), 60)


async def test_a_lost_permission_is_back_when_the_account_is_connected_again(world: Any) -> None:
    posts = await line_of(world, 2)
    account = posts[0].account_id
    good = world.accounts.tokens[account]
    lesser = await world.driver.connect("demo_public", ALL_SCOPES.replace(",video.publish", ""))
    world.accounts.tokens[account] = {**good, "access_token": lesser["access_token"]}
    async with world.replica() as replica:
        wakes = [lane.wake for lane in replica.lanes]
        await world.accept(*posts)
        await eventually(lambda: all_wait(world, posts, "tiktok_scope_not_authorized"), 60)
        assert await refused(world) == {"scope_not_authorized": 1}
        # Connected again without it: refused anew, and told anew, since until then it was over for whoever shows the account.
        async with world.database.transaction() as tx:
            await follow_account(tx, _connected(account), 3, wakes=wakes)
        await eventually(lambda: _was_refused(world, "scope_not_authorized", 2), 60)
        await eventually(lambda: all_wait(world, posts, "tiktok_scope_not_authorized"), 60)
        assert [(await world.told(post)).count("deferred") for post in posts] == [2, 1]
        renewed = await world.driver.connect("demo_public")
        world.accounts.tokens[account] = {**good, "access_token": renewed["access_token"]}
        async with world.database.transaction() as tx:
            await follow_account(tx, _connected(account), 4, wakes=wakes)
        await eventually(lambda: all_are(world, posts, State.SUCCEEDED), 60)


async def test_drafts_and_posts_are_held_apart(world: Any) -> None:
    """The app may not publish; what goes to the creator's inbox goes on."""
    (post,) = await line_of(world, 1)
    draft = world.post(post.account_id, world.media(), mode="inbox", content={"privacy_level": None})
    await world.driver.fault(INIT, code=UNAUDITED, status=403)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: all_wait(world, [post], f"tiktok_{UNAUDITED}"), 60)
        await world.accept(draft)
        await world.state(draft, State.SUCCEEDED)
        assert await all_wait(world, [post], f"tiktok_{UNAUDITED}")


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        (CREATOR_INFO, "spam_risk_too_many_posts"),
        (INIT, "spam_risk_too_many_posts"),
        (CREATOR_INFO, "reached_active_user_cap"),
        (INIT, "reached_active_user_cap"),
    ],
)
async def test_a_cap_that_others_have_used_up_is_learned_for_all_posts_of_the_account(
    world: Any, endpoint: str, code: str
) -> None:
    posts = await line_of(world, 3)
    await world.driver.fault(endpoint, code=code)
    async with world.replica():
        await world.accept(*posts)
        for post in posts:
            deferred = await world.told_of(post, "deferred")
            assert deferred["until"] is not None
        assert await refused(world) == {code: 1}
        await eventually(lambda: all_sleep(world, posts, timedelta(minutes=59), timedelta(minutes=61)), 60)
        await world.pass_time(3_601)
        await eventually(lambda: all_are(world, posts, State.SUCCEEDED), 60)
    assert [item["title"] for item in await world.driver.ledger()] == [post.content.title for post in posts]


@pytest.mark.parametrize(
    ("fail_reason", "waits_with"),
    [
        ("spam_risk_too_many_posts", "tiktok_daily_posts"),
        ("reached_active_user_cap", "tiktok_active_users"),
        (BANNED, f"tiktok_{BANNED}"),
    ],
)
async def test_what_only_the_status_tells_costs_one_attempt(world: Any, fail_reason: str, waits_with: str) -> None:
    posts = await line_of(world, 3)
    first, others = posts[0], posts[1:]
    await world.driver.fault("processing", fail_reason=fail_reason)
    async with world.replica():
        await world.accept(first)
        await world.state(first, State.FAILED)
        failed = await world.event(first, "failed")
        assert (failed["code"], failed["retryable"]) == (f"tiktok_{fail_reason}", True)
        await world.accept(*others)
        for post in others:
            deferred = await world.told_of(post, "deferred")
            assert (deferred["code"], deferred["attempt"]) == (waits_with, 1)
        assert len(await world.driver.ledger()) == 1
        if fail_reason == BANNED:
            await eventually(lambda: all_wait(world, others, waits_with), 60)
            await look_now(world, others)
        else:
            await eventually(lambda: all_sleep(world, others, timedelta(minutes=59), timedelta(minutes=61)), 60)
            await world.pass_time(3_601)
        await eventually(lambda: all_are(world, others, State.SUCCEEDED), 60)


async def test_a_cap_of_the_app_is_learned_for_all_accounts(world: Any) -> None:
    """Each would be refused in turn otherwise; a creator for whom the app has posted today is refused nothing."""
    cap = "reached_active_user_cap"
    for username in ("today", "refused", "other"):
        await world.driver.admin("POST", "creators", {"username": username, "persona": "public"})
    today, capped, other = [world.post(await world.account(name), world.media()) for name in ("today", "refused", "other")]
    async with world.replica():
        await world.accept(today)
        await world.state(today, State.SUCCEEDED)
        for post in (capped, other):
            open_id = world.accounts.tokens[post.account_id]["open_id"]
            await world.driver.fault(INIT, code=cap, open_id=open_id, times=9)
        await world.accept(capped)
        assert (await world.told_of(capped, "deferred"))["code"] == f"tiktok_{cap}"
        await world.accept(other)
        assert (await world.told_of(other, "deferred"))["code"] == "tiktok_active_users"
        again = world.post(today.account_id, world.media())
        await world.accept(again)
        await world.state(again, State.SUCCEEDED)
        assert await all_sleep(world, [capped, other], timedelta(minutes=59), timedelta(minutes=61))
    assert await refused(world) == {cap: 1}


@pytest.mark.parametrize("endpoint", [CREATOR_INFO, INIT])
async def test_a_429_moves_the_window_forward_for_all_posts_of_the_account(world: Any, endpoint: str) -> None:
    posts = await line_of(world, 2)
    await world.driver.fault(endpoint, status=429)
    async with world.replica():
        await world.accept(*posts)
        first = await world.told_of(posts[0], "deferred")
        await world.told_of(posts[1], "deferred")
        assert first["code"] == "tiktok_rate_limit_exceeded"
        assert await refused(world) == {"rate_limit_exceeded": 1}
        await eventually(lambda: all_sleep(world, posts, timedelta(seconds=30), timedelta(seconds=62)), 60)
        await world.pass_time(61)
        await eventually(lambda: all_are(world, posts, State.SUCCEEDED), 60)
    assert [item["title"] for item in await world.driver.ledger()] == [post.content.title for post in posts]


async def test_a_429_on_the_status_slows_all_polls_of_the_account(world: Any) -> None:
    (post,) = await line_of(world, 1)
    await world.driver.fault(STATUS, status=429)
    async with world.replica():
        await world.accept(post)
        deferred = await world.told_of(post, "deferred")
        assert deferred["code"] == "tiktok_rate_limit_exceeded"
        async with world.database.read() as connection:
            row = (await connection.execute(text("SELECT not_before - now() FROM tiktok_quotas WHERE name = 'status'"))).one()
        assert row[0] > timedelta(seconds=20)
        await world.pass_time(61)
        await world.state(post, State.SUCCEEDED)


@pytest.mark.parametrize(("status", "told"), [(403, "failed"), (200, "failed"), (503, "deferred")])
async def test_unknown_codes_are_final_only_when_tiktok_says_so_and_can_be_looked_up(
    world: Any, status: int, told: str
) -> None:
    (post,) = await line_of(world, 1)
    await world.driver.fault(INIT, code="brand_new_code", status=status)
    async with world.replica():
        await world.accept(post)
        if told == "deferred":
            await eventually(lambda: world.waits(post, "tiktok_brand_new_code"), 60)
            await world.due_now(post)
            await world.state(post, State.SUCCEEDED)
            return
        event = await world.told_of(post, told)
    assert (event["code"], event["retryable"]) == ("tiktok_brand_new_code", status != 403)
    assert event["log_id"]
    assert event["log_id"] in event["message"]
    assert "brand_new_code" in event["message"]


async def test_a_reason_of_failure_that_is_new_is_retried_and_can_be_looked_up(world: Any) -> None:
    (post,) = await line_of(world, 1)
    await world.driver.fault("processing", fail_reason="brand_new_reason")
    async with world.replica():
        await world.accept(post)
        failed = await world.told_of(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("tiktok_brand_new_reason", True)
    assert failed["log_id"]
    assert failed["log_id"] in failed["message"]


async def test_looks_at_a_held_account_become_rarer_and_only_one_job_looks(world: Any) -> None:
    account, reason = uuid7(), Reason("tiktok_x", "Banned.", "Appeal.", "L")
    waits = []
    for looked in (False, False, True, True, *[True] * 6):
        async with world.database.transaction() as tx:
            waits.append(await account_holds.put(tx.connection, account, "direct", reason, looked=looked))
    assert [round(wait, -1) for wait in waits] == [60, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    async with world.database.transaction() as tx:
        assert not await account_holds.take_look(tx.connection, account, "direct")
        await tx.connection.execute(update(holds).values(look_at=func.clock_timestamp()))
        found = await account_holds.find(tx.connection, account, "direct")
        assert found is not None
        assert (found.reason, found.look_in) == (reason, 0.0)
        assert [await account_holds.take_look(tx.connection, account, "direct") for _ in range(2)] == [True, False]
        assert await account_holds.find(tx.connection, account, "inbox") is None
        assert not await account_holds.lift(tx.connection, account, "inbox")
        assert await account_holds.lift(tx.connection, account)


async def test_a_disconnected_account_is_held_no_longer(world: Any) -> None:
    account = uuid7()
    async with world.database.transaction() as tx:
        await account_holds.put(tx.connection, account, "direct", Reason("c", "m"), looked=False)
        await follow_account(tx, _connected(account, AccountDisconnected), 2, wakes=[])
        assert await account_holds.find(tx.connection, account, "direct") is None


async def test_one_job_looks_for_all(world: Any) -> None:
    """Two come at the moment of the look: the second waits for what the first finds."""
    posts = await line_of(world, 2)
    await world.accept(*posts)
    async with world.database.transaction() as tx:
        await account_holds.put(tx.connection, posts[0].account_id, "direct", Reason("tiktok_x", "m"), looked=False)
        await tx.connection.execute(update(holds).values(look_at=func.clock_timestamp()))
    await world.driver.fault(CREATOR_INFO, delay=30)
    async with world.replica():
        await eventually(lambda: _asked_creator_info(world), 60)
        await eventually(lambda: all_wait(world, posts[1:], "tiktok_x"), 60)
        await world.driver.admin("DELETE", "faults")
        await eventually(lambda: all_are(world, posts, State.SUCCEEDED), 60)


async def _asked_creator_info(world: Any) -> bool:
    return not await world.driver.faults()


async def _was_refused(world: Any, code: str, times: int) -> bool:
    return (await refused(world)).get(code) == times


def _connected(account_id: Any, kind: Any = AccountConnected) -> Any:
    return kind(
        account_id=account_id, user_id=uuid7(), tiktok_user_id="t", username="u", display_name="U", status="active", scopes=[],
        **({"reconnected": True} if kind is AccountConnected else {}),
    )  # fmt: skip
