"""Checks before the due time: what would fail then shows now, once, and goes when it is gone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from common.clock import rfc3339, utc_now
from common.contracts.registry import parse
from common.contracts.scheduler import PostUpdated
from common.database.migrate import upgrade
from common.ids import uuid7
from scheduler.clients.object_storage import ObjectStorage
from scheduler.usecases.apply_account_event import follow_one_account

pytestmark = pytest.mark.integration


async def test_a_post_in_order_is_checked_once_and_nobody_is_told(desk: Any) -> None:
    post = await desk.post()
    assert (await desk.check(), await desk.check()) == (1, 0)
    now = await desk.world.reload(post)
    assert (now.version, now.warnings, now.checked_version, now.check_after) == (post.version, [], post.version, None)
    assert await desk.world.told() == []


async def test_a_change_of_the_post_has_it_checked_anew(desk: Any) -> None:
    await desk.post()
    await desk.check()
    await desk.world.execute("UPDATE posts SET version = version + 1")
    assert (await desk.check(), await desk.check()) == (1, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "draft"},
        {"status": "due"},
        {"status": "cancelled"},
        {"held": True, "held_reason": "account_paused"},
        {"next_attempt_at": timedelta(minutes=20)},
        {"next_attempt_at": timedelta(minutes=-1)},
    ],
)
async def test_what_is_not_due_soon_is_left_alone(desk: Any, fields: dict[str, Any]) -> None:
    from_now = {name: utc_now() + value if isinstance(value, timedelta) else value for name, value in fields.items()}
    await desk.post(**from_now)
    assert await desk.check() == 0
    assert desk.asked == []


PROBLEM = {"type": "about:blank", "detail": "TikTok says so.", "hint": "Wait."}


def break_grant(desk: Any) -> None:
    desk.account_answer = desk.account(grant_expires_at=rfc3339(utc_now() + timedelta(minutes=4)))


def withdraw_scope(desk: Any) -> None:
    desk.account_answer = desk.account(scopes=["user.info.basic", "video.upload"])


def lose_account(desk: Any) -> None:
    desk.account_answer = (404, {**PROBLEM, "status": 404, "code": "account_not_found"})


def reach_cap(desk: Any) -> None:
    desk.creator_answer = (409, {**PROBLEM, "status": 409, "code": "tiktok_spam_risk_too_many_posts"})


def take_privacy(desk: Any) -> None:
    desk.creator_answer = desk.creator(privacy_level_options=["SELF_ONLY"])


def shorten(desk: Any) -> None:
    desk.creator_answer = desk.creator(max_video_post_duration_sec=14)


def fill_day(desk: Any) -> None:
    desk.day_answer = desk.day(allowed=15, moments=[rfc3339(utc_now() - timedelta(hours=1))] * 15)


def lose_object(desk: Any) -> None:
    desk.object.unlink()


@pytest.mark.parametrize(
    ("spoil", "field", "code"),
    [
        (break_grant, "tiktok_account_id", "grant_ends_before_due"),
        (withdraw_scope, "tiktok_account_id", "missing_scope"),
        (lose_account, "tiktok_account_id", "account_not_found"),
        (reach_cap, "tiktok_account_id", "tiktok_spam_risk_too_many_posts"),
        (take_privacy, "privacy_level", "privacy_not_available"),
        (shorten, "media_id", "video_too_long_for_creator"),
        (fill_day, "scheduled_time", "tiktok_daily_posts"),
        (lose_object, "media_id", "media_lost"),
    ],
)
async def test_a_problem_shows_once_and_goes_when_it_is_gone(
    desk: Any, spoil: Callable[[Any], None], field: str, code: str
) -> None:
    post = await desk.post()
    spoil(desk)
    for _ in range(2):
        assert await desk.check() == 1
    (warning,) = (await desk.world.reload(post)).warnings
    assert (warning["field"], warning["code"]) == (field, code)
    assert warning["message"]
    (told,) = await desk.world.told()
    assert (told.key, told.sequence_number, told.userid) == ("scheduler.post.updated.v1", post.version + 1, post.user_id)
    assert parse(told, PostUpdated).changes == {"warnings": [[], [warning]]}

    desk.mend()
    assert (await desk.check(), await desk.check()) == (1, 0)
    assert await desk.codes(post) == []
    assert [parse(told, PostUpdated).changes["warnings"][1] for told in await desk.world.told()] == [[warning], []]


async def test_a_draft_for_the_inbox_needs_another_right(desk: Any) -> None:
    withdraw_scope(desk)
    post = await desk.post(mode="inbox", privacy_level=None, caption="")
    await desk.check()
    assert await desk.codes(post) == []
    desk.account_answer = desk.account(scopes=["user.info.basic", "video.publish"])
    other = await desk.post(mode="inbox", privacy_level=None, caption="")
    await desk.check()
    assert await desk.codes(other) == ["missing_scope"]


async def test_a_file_that_was_deleted_is_told(desk: Any) -> None:
    post = await desk.post()
    await desk.world.execute("UPDATE media SET deleted_at = now()")
    await desk.check()
    assert await desk.codes(post) == ["media_not_found"]


async def test_another_problem_takes_the_place_of_the_first(desk: Any) -> None:
    post = await desk.post()
    lose_object(desk)
    await desk.check()
    desk.object.write_bytes(b"x")
    reach_cap(desk)
    await desk.check()
    assert await desk.codes(post) == ["tiktok_spam_risk_too_many_posts"]


@pytest.mark.parametrize("away", ["account_answer", "creator_answer", "day_answer"])
async def test_while_others_are_away_what_is_known_stays_and_they_are_asked_again(desk: Any, away: str) -> None:
    post = await desk.post()
    lose_object(desk)
    await desk.check()
    setattr(desk, away, (502, {**PROBLEM, "status": 502, "code": "tiktok_unavailable"}))
    await desk.check()
    assert "media_lost" in await desk.codes(post)
    desk.object.write_bytes(b"x")
    await desk.check()
    assert "media_lost" in await desk.codes(post)
    desk.mend()
    await desk.check()
    assert await desk.codes(post) == []
    assert await desk.check() == 0


async def test_an_account_that_stopped_unheard_is_noted_and_its_posts_are_held(desk: Any) -> None:
    post = await desk.post()
    desk.account_answer = desk.account(status="expired", version=5)
    await desk.check()
    async with desk.world.database.transaction() as tx:
        assert await follow_one_account(tx, desk.world.outbox, desk.world.waker)
    assert ((await desk.world.reload(post)).held, await desk.check()) == (True, 0)
    assert [told.key for told in await desk.world.told()] == ["scheduler.post.held.v1"]


async def test_waiting_posts_of_before_are_checked_too(empty_database: Any) -> None:
    url = await empty_database("preflight_before")
    await upgrade("scheduler", url, "0002")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO posts (id, user_id, status, mode, transfer, next_attempt_at)"
            " SELECT gen_random_uuid(), $1, 'scheduled', 'direct', 'upload', now() FROM generate_series(1, 3)",
            uuid7(),
        )
        await upgrade("scheduler", url)
        unchecked = "SELECT count(*) FROM posts WHERE checked_version <> version"
        assert await connection.fetchval(unchecked) == 3
    finally:
        await connection.close()


async def test_with_the_storage_away_the_file_is_not_called_lost(desk: Any) -> None:
    post = await desk.post()
    gone = ObjectStorage(f"file://{desk.object.parent}/not-mounted")
    assert await replace(desk.checks, storage=gone).check_batch() == 1
    assert await desk.codes(post) == []
    assert (await desk.check(), await desk.check()) == (1, 0)


async def test_an_account_nobody_knows_while_accounts_is_away_is_asked_about_later(desk: Any) -> None:
    post = await desk.post(account_id=uuid7())
    desk.account_answer = (503, {**PROBLEM, "status": 503, "code": "unavailable"})
    assert (await desk.check(), await desk.check()) == (1, 1)
    assert await desk.codes(post) == []


async def test_in_sandbox_mode_a_public_post_says_that_its_creator_alone_will_see_it(desk: Any) -> None:
    post = await desk.post(privacy_level="PUBLIC_TO_EVERYONE")
    await desk.check()
    assert "sandbox_mode" not in await desk.codes(post)
    desk.checks = replace(desk.checks, surveyor=replace(desk.checks.surveyor, sandbox=True))
    post = await desk.post(privacy_level="PUBLIC_TO_EVERYONE")
    await desk.check()
    assert "sandbox_mode" in await desk.codes(post)


async def test_in_sandbox_mode_branded_content_has_no_privacy_level_left(desk: Any) -> None:
    """What goes out is visible to its creator alone, and branded content never is."""
    branded = {"privacy_level": "PUBLIC_TO_EVERYONE", "brand_content_toggle": True}
    post = await desk.post(**branded)
    await desk.check()
    assert await desk.codes(post) == []
    desk.checks = replace(desk.checks, surveyor=replace(desk.checks.surveyor, sandbox=True))
    post = await desk.post(**branded)
    await desk.check()
    assert await desk.codes(post) == ["branded_content_must_be_public", "sandbox_mode"]
