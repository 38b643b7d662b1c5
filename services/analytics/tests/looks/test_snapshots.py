"""Each active account is looked at once an hour; an hour in which that was not possible stays empty."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from analytics.call_pace import CallPace
from analytics.domain.look_failures import NoTurn
from analytics.domain.look_times import next_snapshot
from analytics.domain.measures import hour_of
from analytics.storage.due_snapshots import claim_due_snapshots
from common.errors import Problem
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
USER_INFO = "/v2/user/info/"
COUNTS = ("follower_count", "following_count", "likes_count", "video_count")
HOUR = timedelta(hours=1)


async def snapshots(world: Any) -> list[tuple[Any, ...]]:
    return [(row["account_id"], *(row[name] for name in COUNTS)) for row in await world.rows("account_snapshots")]


async def copy(world: Any) -> dict[str, Any]:
    (row,) = await world.rows("stats_accounts")
    found: dict[str, Any] = row
    return found


async def test_an_account_is_looked_at_and_its_next_turn_planned(world: Any) -> None:
    account_id = await world.account()

    async def taken() -> bool:
        return (await copy(world))["snapshot_due_at"] > datetime.now(UTC)

    await world.until(taken, world.snapshots())
    assert await snapshots(world) == [(account_id, 12840, 310, 98213, 42)]
    (snapshot,) = await world.rows("account_snapshots")
    assert snapshot["hour"] == hour_of(snapshot["collected_at"])
    (day,) = await world.rows("account_days")
    assert (day["day"], day["follower_count"]) == (snapshot["collected_at"].date(), 12840)
    known = await copy(world)
    assert known["snapshot_due_at"] == next_snapshot(account_id, snapshot["collected_at"])
    assert (known["leased_until"], known["snapshot_failures"]) == (None, 0)
    (message,) = await world.rows("outbox_messages")
    event = json.loads(message["body"])
    assert (message["routing_key"], event["subject"]) == ("analytics.account_stats.collected.v1", str(account_id))
    assert (event["data"]["likes_count"], event["actor"], UUID(event["userid"])) == (
        98213,
        "service:analytics",
        known["user_id"],
    )


async def test_an_hour_that_has_a_snapshot_is_not_asked_for_again(world: Any) -> None:
    await world.account()
    loop = world.snapshots()
    await world.until(lambda: has(world, 1), loop)
    await world.make_due("stats_accounts")

    async def planned() -> bool:
        return (await copy(world))["snapshot_due_at"] > datetime.now(UTC)

    await world.until(planned, loop)
    assert await world.calls(USER_INFO) == {"200": 1}
    assert len(await world.rows("outbox_messages")) == 1


async def has(world: Any, number: int) -> bool:
    return len(await world.rows("account_snapshots")) == number


async def test_replicas_at_once_make_one_snapshot_an_hour(world: Any) -> None:
    creators = [f"creator_{number}" for number in range(12)]
    for number, name in enumerate(creators):
        await world.tiktok.admin("POST", "creators", {"username": name, "follower_count": number})
    accounts = [await world.account(name) for name in creators]
    await world.until(lambda: has(world, 12), *(world.snapshots(concurrency=3) for _ in range(3)))
    assert await world.calls(USER_INFO) == {"200": 12}
    assert {row[0]: row[1] for row in await snapshots(world)} == {one: number for number, one in enumerate(accounts)}
    assert len(await world.rows("outbox_messages")) == 12


async def test_what_a_dead_replica_had_in_hand_is_taken_over(world: Any) -> None:
    await world.account()
    async with world.database.transaction() as tx:
        (taken,) = await claim_due_snapshots(tx.driver, limit=9, lease=timedelta(seconds=1))
        assert await claim_due_snapshots(tx.driver, limit=9, lease=HOUR) == []
    assert (await copy(world))["leased_until"] == taken.leased_until
    await world.until(lambda: has(world, 1), world.snapshots())
    assert (await copy(world))["leased_until"] is None


async def test_tiktok_away_leaves_a_gap_and_nothing_is_made_up(world: Any) -> None:
    """The tries of an hour end with it; the next one begins at the account's turn."""
    account_id = await world.account()
    await world.tiktok.fault(USER_INFO, times=1_000, status=503)
    loop = world.snapshots()

    async def failed(times: int) -> bool:
        row = await copy(world)
        # Late in the hour there is no time for another try: the wait for the next hour begins at once.
        return (
            row["leased_until"] is None
            and row["snapshot_due_at"] > datetime.now(UTC)
            and row["snapshot_failures"] in {0, times}
        )

    await world.until(lambda: failed(1), loop)
    await world.make_due("stats_accounts")
    await world.until(lambda: failed(2), loop)
    assert await world.rows("account_snapshots") == []
    assert await world.rows("account_days") == []

    await world.tiktok.admin("DELETE", "faults")
    await world.make_due("stats_accounts")
    await world.until(lambda: has(world, 1), loop)
    (row,) = await world.rows("account_snapshots")
    assert (row["account_id"], row["hour"]) == (account_id, hour_of(row["collected_at"]))
    assert (await copy(world))["snapshot_failures"] == 0


async def test_a_429_holds_the_endpoint_for_everybody(world: Any) -> None:
    await world.account()
    await world.tiktok.fault(USER_INFO, times=1, status=429, code="rate_limit_exceeded")
    loop, other = world.snapshots(), world.snapshots()

    async def held() -> bool:
        paces = await world.rows("tiktok_call_pace")
        return bool(paces) and paces[0]["booked_until"] > datetime.now(UTC) + timedelta(seconds=20)

    await world.until(held, loop)
    assert (await copy(world))["snapshot_due_at"] > datetime.now(UTC) + timedelta(seconds=20)
    await world.account("demo_private")
    looked = await world.once(other)
    assert looked.done == 0
    assert 0 < looked.next_in <= 30
    assert await world.calls(USER_INFO) == {"429": 1}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "inactive"}, None),
        ({"status": "expired"}, None),
        ({"scopes": ("user.info.basic", "video.list")}, None),
        ({}, "account_expired"),
        ({}, "paused"),
        ({}, "scope"),
    ],
)
async def test_an_account_that_may_not_be_looked_at_waits_for_its_next_event(
    world: Any, changes: dict[str, Any], code: str | None
) -> None:
    """Whether the copy says so, or only accounts knows yet."""
    if code == "account_expired":
        world.accounts.problem = Problem(409, code, "Connect it again.")
    world.accounts.status = "inactive" if code == "paused" else "active"
    if code == "scope":
        world.accounts.scopes = ("user.info.basic",)
    account_id = await world.account(**changes)

    async def parked() -> bool:
        return (await copy(world))["snapshot_due_at"] is None

    loop = world.snapshots()
    await world.until(parked, loop)
    assert world.accounts.asked == (1 if code else 0)
    assert await world.calls(USER_INFO) == {}
    world.accounts.problem, world.accounts.status, world.accounts.scopes = (
        None,
        "active",
        ("user.info.basic", "user.info.stats"),
    )
    await world.hear(account_id)
    await world.until(lambda: has(world, 1), loop)


async def test_a_scope_that_tiktok_alone_denies_is_tried_again_a_day_later(world: Any) -> None:
    """Accounts knows that the account has it: no event may ever come."""
    await world.account()
    await world.tiktok.fault(USER_INFO, times=1, status=401, code="scope_not_authorized")
    almost_a_day = datetime.now(UTC) + timedelta(hours=23)

    async def put_off() -> bool:
        due_at = (await copy(world))["snapshot_due_at"]
        assert due_at is not None
        return bool(almost_a_day < due_at < almost_a_day + timedelta(hours=2))

    await world.until(put_off, world.snapshots())
    assert await world.calls(USER_INFO) == {"401": 1}


async def test_news_that_came_during_a_look_are_not_lost(world: Any) -> None:
    """The account was refused as expired, and connected again before that was stored."""
    account_id = await world.account()
    loop = world.snapshots()
    async with world.database.transaction() as tx:
        (due,) = await claim_due_snapshots(tx.driver, limit=1, lease=HOUR)
    await world.hear(account_id)
    world.accounts.problem = Problem(409, "account_expired", "Connect it again.")
    assert await loop._take(due) == "not_allowed"
    assert (await copy(world))["snapshot_due_at"] is not None


async def test_a_look_that_was_too_late_plans_nothing_for_an_account_paused_meanwhile(world: Any) -> None:
    account_id = await world.account()
    async with world.database.transaction() as tx:
        (due,) = await claim_due_snapshots(tx.driver, limit=1, lease=HOUR)
    await world.hear(account_id, status="inactive")
    assert await world.snapshots()._take(due) == "ok"
    assert (await copy(world))["snapshot_due_at"] is None
    assert len(await world.rows("account_snapshots")) == 1, "it was measured"


async def test_a_token_that_tiktok_refuses_is_renewed_once(world: Any) -> None:
    account_id = await world.account()
    world.accounts.renewed[account_id] = world.accounts.tokens[account_id]["access_token"]
    world.accounts.tokens[account_id]["access_token"] = "act.of-yesterday"
    await world.until(lambda: has(world, 1), world.snapshots())
    assert world.accounts.asked == 2
    assert await world.calls(USER_INFO) == {"200": 1, "401": 1}


async def test_accounts_away_is_a_passing_failure(world: Any) -> None:
    await world.account()
    world.accounts.problem = Problem(503, "tiktok_unavailable", "Away.", headers={"Retry-After": "7"})
    (due,) = await claim(world)
    assert await world.snapshots()._take(due) in {"failed", "missed"}
    assert (await copy(world))["snapshot_due_at"] is not None


async def claim(world: Any) -> Any:
    async with world.database.transaction() as tx:
        return await claim_due_snapshots(tx.driver, limit=1, lease=HOUR)


async def test_replicas_keep_the_quota_together(world: Any) -> None:
    """Ten a second: who would wait longer than half a second finds no turn."""
    replicas = [CallPace(world.database, "x", per_minute=600, wait_max=timedelta(milliseconds=450)) for _ in range(2)]
    outcomes = await asyncio.gather(*(pace.wait() for pace in replicas * 15), return_exceptions=True)
    left = [outcome for outcome in outcomes if outcome is None]
    assert {type(outcome) for outcome in outcomes} == {NoTurn, type(None)}
    # One at once and four after it, and one for each tenth of a second that the bookings took.
    assert 5 <= len(left) < 30


async def test_without_a_turn_an_account_stays_due(world_with: Any) -> None:
    async with world_with(user_info_calls_per_minute=1) as world:
        await world.account()
        await world.account("demo_private")
        looked = await world.once(world.snapshots())
        assert (looked.done, looked.more) == (2, False)
        assert await world.calls(USER_INFO) == {"200": 1}
        due = [row["snapshot_due_at"] <= datetime.now(UTC) for row in await world.rows("stats_accounts")]
        assert sorted(due) == [False, True]
        assert [row["leased_until"] for row in await world.rows("stats_accounts")] == [None, None]
        assert await world.numbers.user_info_pace.no_turn_for() is not None


async def test_who_stops_waits_for_no_answer_and_leaves_the_account_due(world: Any) -> None:
    await world.account()
    await world.tiktok.fault(USER_INFO, times=1, delay=30)
    loop = world.snapshots()

    async def asked() -> bool:
        return not await world.tiktok.faults()

    await loop.start()
    await eventually(asked)
    await world.numbers.stop()
    await loop.stop()
    known = await copy(world)
    assert (known["leased_until"], known["snapshot_failures"]) == (None, 0)
    assert known["snapshot_due_at"] <= datetime.now(UTC)
    assert (await world.once(world.snapshots())).done == 1
    assert await world.rows("account_snapshots") == [], "nothing more is asked"
