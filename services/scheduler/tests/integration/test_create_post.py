"""Creating posts by command over real RabbitMQ."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from common.clock import rfc3339, utc_now
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.errors import Problem
from common.ids import uuid7
from common.testing.eventually import eventually
from scheduler.usecases.create_post import create_post
from scheduler.usecases.judge_posts import Candidate
from scheduler.usecases.surroundings import Surroundings
from scheduler.usecases.wanted_post import want_post

pytestmark = pytest.mark.integration

FIELDS_TEXT = (
    "id tiktok_account_id status caption hashtags mentions privacy_level media_id source_url photo_urls mode transfer "
    "disable_comment disable_duet disable_stitch brand_content_toggle brand_organic_toggle is_aigc cover_timestamp_ms "
    "photo_title photo_cover_index auto_add_music "
    "scheduled_time timezone publish_before next_attempt_at published_at publish_id tiktok_video_id video_url error_code "
    "error_message error_hint warnings retry_count version created_at updated_at"
)
FIELDS = FIELDS_TEXT.split()


Author = Any


async def test_a_post_is_created_whole(author: Author, world: Any, scheduler: Any) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    reply = await author.create(hashtags=["fun"], mentions=["@bob"], scheduled_time=at, timezone="Europe/Berlin", is_aigc=True)
    assert reply.status == 201, reply.body
    assert reply.body is not None
    assert list(reply.body) == FIELDS
    assert reply.headers == {"Location": f"/api/v1/posts/{reply.body['id']}", "ETag": '"1"'}
    shown = {name: reply.body[name] for name in ("status", "scheduled_time", "next_attempt_at", "publish_before", "is_aigc")}
    assert shown == {
        "status": "scheduled",
        "scheduled_time": rfc3339(at),
        "next_attempt_at": rfc3339(at),
        "publish_before": rfc3339(at + timedelta(hours=24)),
        "is_aigc": True,
    }
    assert (reply.body["warnings"], reply.body["tiktok_account_id"]) == ([], str(author.account_id))
    read = await scheduler.get(f"/internal/posts/{reply.body['id']}", author.user_id)
    assert read.json() == reply.body
    assert read.headers["etag"] == '"1"'
    async with world.database.read() as connection:
        title = await connection.scalar(_select("SELECT title FROM posts"))
    assert title == "Hello #fun @bob"


def _select(sql: str) -> Any:
    from sqlalchemy import text

    return text(sql)


async def test_a_draft_needs_nothing(author: Author) -> None:
    reply = await author.create(
        draft=True, tiktok_account_id=None, media_id=None, privacy_level=None, scheduled_time=None, caption=""
    )
    assert reply.body is not None
    assert (reply.status, reply.body["status"], reply.body["next_attempt_at"]) == (201, "draft", None)


async def test_the_same_command_twice_makes_one_post(author: Author, world: Any) -> None:
    envelope = {"command_id": uuid7(), "time": utc_now()}
    first, second = await asyncio.gather(author.create(envelope=envelope), author.create(envelope=envelope))
    assert first == second
    assert first.status == 201
    assert await world.counts() == {"scheduled": 1}


async def test_duplicates_are_serialised(author: Author, world: Any) -> None:
    replies = await asyncio.gather(*(author.create() for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 7
    assert {reply.body["code"] for reply in replies if reply.status == 409 and reply.body} == {"duplicate_media"}
    assert await world.counts() == {"scheduled": 1}
    assert (await author.create(allow_duplicate=True)).status == 201


@pytest.mark.parametrize("ended", ["cancelled", "failed"])
async def test_what_was_never_published_is_no_duplicate(author: Author, world: Any, ended: str) -> None:
    await author.create()
    await world.execute("UPDATE posts SET status = :status", status=ended)
    assert (await author.create()).status == 201


async def test_a_day_later_it_is_no_duplicate(author: Author, world: Any) -> None:
    await author.create()
    await world.execute("UPDATE posts SET created_at = created_at - interval '24 hours 1 second'")
    assert (await author.create()).status == 201


async def test_what_was_taken_off_the_lists_is_a_duplicate_that_is_not_named(author: Author, world: Any) -> None:
    """It is out, and GET finds it no more; of two such posts the one that is still listed is named."""
    await author.create()
    await world.execute("UPDATE posts SET status = 'published', deleted_at = now(), next_attempt_at = NULL")
    refused = await author.refused("duplicate_media", 409)
    assert "post_id" not in refused
    assert "took off the lists" in refused["detail"]
    shown = await author.post(allow_duplicate=True)
    await world.execute("UPDATE posts SET created_at = created_at - interval '1 h' WHERE deleted_at IS NULL")
    assert (await author.refused("duplicate_media", 409))["post_id"] == shown["id"]


async def test_refusals(author: Author, world: Any) -> None:
    other = await world.account()
    foreign = await world.media(other.user_id)
    gone = await world.account(author.user_id, deleted=True)
    processing = await world.media(author.user_id, status="processing")
    problems = [{"field": "fps", "code": "frame_rate_not_allowed", "message": "x"}]
    rejected = await world.media(author.user_id, status="rejected", problems=problems)
    author.scheduler.neighbours.answers[f"GET accounts /internal/users/{author.user_id}/accounts/{other.id}"] = (404, {})
    await author.refused("account_not_found", 404, tiktok_account_id=other.id)
    await author.refused("account_not_found", 404, tiktok_account_id=gone.id)
    await author.refused("accounts_unavailable", 503, tiktok_account_id=uuid7())
    await author.refused("media_not_found", 404, media_id=foreign)
    await author.refused("media_not_found", 404, media_id=uuid7())
    await author.refused("media_not_ready", 409, media_id=processing)
    assert (await author.refused("media_rejected", 422, media_id=rejected))["errors"] == problems
    await author.refused("privacy_not_available", 422, privacy_level="FOLLOWER_OF_CREATOR")
    await author.refused("privacy_required", 422, privacy_level=None)
    await author.refused("cover_beyond_end", 422, cover_timestamp_ms=15_001)
    await author.refused("scheduled_in_past", 422, scheduled_time=utc_now() - timedelta(minutes=2))
    await author.refused(
        "publish_before_out_of_range", 422, publish_before="2001-01-01T00:00:00+14:00", draft=True, scheduled_time=None
    )
    many = await author.refused("invalid_post", 422, caption="x\x00", privacy_level=None)
    assert [item["code"] for item in many["errors"]] == ["invalid_characters", "privacy_required"]
    gap = await author.refused(
        "nonexistent_local_time",
        422,
        scheduled_time="2027-03-28T02:30:00",
        timezone="Europe/Berlin",
    )
    assert gap["alternatives"] == ["2027-03-28T01:30:00+01:00", "2027-03-28T03:30:00+02:00"]
    assert await world.counts() == {}


async def test_an_account_disconnected_meanwhile_is_not_found(author: Author, world: Any) -> None:
    """Found in the copy before the transaction, gone inside it."""
    command = author.body()
    envelope = wrap(command, service="gateway", subject="x", context=Context(user_id=author.user_id))
    candidate = Candidate(want_post(command, now=utc_now(), allowed_hosts=set()), Surroundings(author.account_id))
    await world.execute("UPDATE accounts SET deleted = true")
    with pytest.raises(Problem) as caught:
        async with world.database.transaction() as tx:
            await create_post(tx, world.outbox, world.waker, candidate, envelope)
    assert caught.value.code == "account_not_found"


async def test_a_command_without_a_user_is_refused(author: Author) -> None:
    reply = await author.scheduler.client.call(wrap(author.body(), service="gateway", subject="x", context=Context()))
    assert (reply.status, reply.body["code"]) == (401, "unauthorized")


async def test_media_not_ready_says_when_to_try_again(author: Author, world: Any) -> None:
    reply = await author.create(media_id=await world.media(author.user_id, status="processing"))
    assert reply.headers["Retry-After"] == "1"


async def test_judged_at_the_time_of_the_command(author: Author) -> None:
    """A command that waited an hour in its queue is not late."""
    then = utc_now() - timedelta(hours=1)
    reply = await author.create(scheduled_time=then + timedelta(minutes=5), envelope={"time": then})
    assert reply.status == 201


async def test_tiktok_away_is_a_warning(author: Author) -> None:
    author.scheduler.neighbours.answers.clear()
    reply = await author.create()
    assert reply.body is not None
    assert [item["code"] for item in reply.body["warnings"]] == ["privacy_unchecked"]


async def test_what_may_stop_it_at_its_time_is_a_warning_at_once(author: Author, world: Any) -> None:
    """TikTok lets its creator post nothing now, and its permission ends before the post is due: both by their names, in events."""
    answers = author.scheduler.neighbours.answers
    told = {
        "code": "tiktok_spam_risk_user_banned_from_posting",
        "detail": "TikTok has banned this creator.",
        "hint": "Ask TikTok.",
    }
    answers[f"GET accounts /internal/users/{author.user_id}/accounts/{author.account_id}/creator-info"] = (409, told)
    ends = utc_now() + timedelta(days=20)
    account = {"id": str(author.account_id), "status": "active", "version": 1, "grant_expires_at": rfc3339(ends)}
    answers[f"GET accounts /internal/users/{author.user_id}/accounts/{author.account_id}"] = (200, account)
    far = await author.post(scheduled_time=ends + timedelta(days=1))
    assert [(item["field"], item["code"]) for item in far["warnings"]] == [
        ("tiktok_account_id", "grant_ends_before_due"),
        ("tiktok_account_id", "tiktok_spam_risk_user_banned_from_posting"),
    ]
    assert (far["warnings"][1]["message"], far["warnings"][1]["hint"]) == (told["detail"], told["hint"])
    near = await author.post(scheduled_time=ends - timedelta(days=1), allow_duplicate=True)
    assert [item["code"] for item in near["warnings"]] == ["tiktok_spam_risk_user_banned_from_posting"]
    changed = await author.change(near, scheduled_time=ends + timedelta(days=2))
    assert changed.body is not None
    assert [item["code"] for item in changed.body["warnings"]] == [item["code"] for item in far["warnings"]]
    draft = await author.draft(tiktok_account_id=author.account_id, privacy_level="SELF_ONLY", media_id=author.media_id)
    late = {"scheduled_time": ends + timedelta(days=3), "draft": False, "allow_duplicate": True}
    completed = await author.change(draft, **late)
    assert completed.body is not None
    assert draft["warnings"] != completed.body["warnings"]
    told_of = [(event.key.split(".")[2], event.data.get("warnings"), event.data["changes"]) for event in await world.told()]
    assert [(key, warnings, changes.get("warnings")) for key, warnings, changes in told_of] == [
        ("scheduled", far["warnings"], None),
        ("scheduled", near["warnings"], None),
        ("updated", None, [near["warnings"], changed.body["warnings"]]),
        ("drafted", draft["warnings"], None),
        ("scheduled", completed.body["warnings"], [draft["warnings"], completed.body["warnings"]]),
    ]


async def test_an_account_unknown_here_is_asked_for_and_remembered(author: Author) -> None:
    new = uuid7()
    path = f"GET accounts /internal/users/{author.user_id}/accounts/{new}"
    author.scheduler.neighbours.answers[path] = (200, {"id": str(new), "username": "bob", "status": "inactive", "version": 3})
    for _ in range(2):
        reply = await author.create(tiktok_account_id=new, allow_duplicate=True)
        assert reply.status == 201
    assert author.scheduler.neighbours.asked.count(path) == 1
    assert reply.body is not None
    status = (await author.scheduler.get(f"/internal/posts/{reply.body['id']}/status", author.user_id)).json()
    assert (status["next_step"], status["reason"]["code"]) == ("wait_for_account", "account_paused")


@pytest.mark.parametrize(("active", "status"), [(0, 422), (1, 201), (2, 422), (None, 503)])
async def test_the_account_left_out(author: Author, active: int | None, status: int) -> None:
    path = f"GET accounts /internal/users/{author.user_id}/accounts"
    items = [{"id": str(uuid7()), "username": "a", "status": "active", "version": 1} for _ in range(active or 0)]
    if active is not None:
        author.scheduler.neighbours.answers[path] = (200, {"items": items})
    reply = await author.create(tiktok_account_id=None)
    assert reply.status == status
    assert reply.body is not None
    if active == 1:
        assert reply.body["tiktok_account_id"] == items[0]["id"]
    else:
        assert reply.body["code"] == ("accounts_unavailable" if active is None else "account_required")


async def test_commands_that_wait_hold_up_no_due_post(author: Author, world: Any) -> None:
    """Twenty creates wait for an account's row and take every connection of their pool; the due loop has its own."""
    async with world.database.transaction() as tx:
        await tx.connection.execute(_select("SELECT 1 FROM accounts FOR UPDATE"))
        creating = [asyncio.create_task(author.create(allow_duplicate=True)) for _ in range(20)]

        async def waiting() -> bool:
            async with world.database.read() as connection:
                sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                return bool(await connection.scalar(_select(sql)) >= 10)

        await eventually(waiting)
        post = await world.post(next_attempt_at=utc_now())

        async def is_due() -> bool:
            return bool((await world.reload(post)).status == "due")

        await eventually(is_due, timeout=30)
    assert {reply.status for reply in await asyncio.gather(*creating)} == {201}


async def test_due_at_once_it_wakes_the_due_loop(author: Author, world: Any, woken: list[UUID]) -> None:
    reply = await author.create(scheduled_time=utc_now() + timedelta(seconds=0.5))
    assert reply.body is not None
    assert woken == [UUID(reply.body["id"])]

    async def claimed() -> Any:
        async with world.database.read() as connection:
            sql = "SELECT extract(epoch FROM updated_at - due_at) AS late FROM posts WHERE status = 'due'"
            return (await connection.execute(_select(sql))).one_or_none()

    row = await eventually(claimed)
    assert 0 <= row.late < 60
