"""Editing posts and completing drafts by command over real RabbitMQ."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from common.clock import rfc3339, utc_now
from common.contracts.scheduler import GivenFields, UpdatePost
from common.ids import uuid7
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration


async def test_given_fields_only(author: Any, world: Any) -> None:
    post = await author.post(hashtags=["a"], timezone="Europe/Berlin", is_aigc=True)
    reply = await author.change(post, caption="Other", privacy_level="SELF_ONLY")
    assert (reply.status, reply.headers["ETag"]) == (200, '"2"'), reply.body
    expected = post | {"caption": "Other", "privacy_level": "SELF_ONLY", "version": 2}
    assert reply.body | {"updated_at": ""} == expected | {"updated_at": ""}
    stored = await world.reload(await only(world))
    assert (stored.title, stored.version) == ("Other #a", 2)


async def only(world: Any) -> Any:
    from sqlalchemy import select

    from scheduler.storage.posts import to_post
    from scheduler.storage.tables import posts

    async with world.database.read() as connection:
        return to_post((await connection.execute(select(posts))).one())


async def test_nothing_given_or_nothing_new_changes_nothing(author: Any) -> None:
    post = await author.post()
    for fields in ({}, {"caption": "Hello"}, {"allow_duplicate": True}, {"scheduled_time": post["scheduled_time"]}):
        reply = await author.change(post, **fields)
        assert (reply.status, reply.body) == (200, post)


async def test_what_tiktok_answers_meanwhile_is_no_change_of_its_owners(author: Any, world: Any) -> None:
    """Asked again without an answer, an edit warns; a request that changes nothing leaves even that alone."""
    post = await author.post()
    other = await world.account(author.user_id)
    moved = await author.change(post, tiktok_account_id=str(other.id))
    assert [warning["code"] for warning in moved.body["warnings"]] == ["privacy_unchecked"]
    await world.execute("UPDATE posts SET warnings = '[]'")
    unchanged = await author.change(post, caption="Hello")
    assert (unchanged.status, unchanged.body["version"], unchanged.body["warnings"]) == (200, 2, [])


@pytest.mark.parametrize(
    ("if_match", "status"),
    [(None, 200), (["1"], 200), (["7", "1"], 200), (["2"], 412), ([], 412), (["01"], 412), (["x"], 412)],
)
async def test_if_match(author: Any, if_match: Any, status: int) -> None:
    post = await author.post()
    reply = await author.change(post, caption="x", if_match=if_match)
    assert reply.status == status
    if status == 412:
        assert (reply.body["code"], reply.headers["ETag"]) == ("precondition_failed", '"1"')


async def test_of_two_edits_of_one_version_one_wins(author: Any) -> None:
    post = await author.post()
    replies = await asyncio.gather(*(author.change(post, caption=f"c{n}", if_match=["1"]) for n in range(6)))
    assert sorted(reply.status for reply in replies) == [200] + [412] * 5


async def test_concurrent_edits_of_different_fields_all_count(author: Any) -> None:
    post = await author.post()
    edits = [{"caption": "c"}, {"hashtags": ["h"]}, {"disable_duet": True}, {"privacy_level": "PUBLIC_TO_EVERYONE"}]
    replies = await asyncio.gather(*(author.change(post, **fields) for fields in edits))
    assert {reply.status for reply in replies} == {200}
    last = await author.change(post)
    assert (last.body["caption"], last.body["hashtags"], last.body["disable_duet"]) == ("c", ["h"], True)
    assert last.body["version"] == 4


@pytest.mark.parametrize(
    "status",
    [
        "due",
        "publishing",
        "deferred",
        "processing",
        "retry_scheduled",
        "published",
        "sent_to_inbox",
        "unconfirmed",
        "failed",
        "cancelled",
    ],
)
async def test_other_states_cannot_be_edited(author: Any, world: Any, status: str) -> None:
    post = await author.post()
    await world.execute("UPDATE posts SET status = :status", status=status)
    reply = await author.change(post, caption="x")
    assert (reply.status, reply.body["code"]) == (409, "post_not_editable")
    assert reply.body["hint"]
    assert (await author.change(post, caption="x", if_match=["9"])).status == 412


async def test_others_posts_and_unknown_ones_are_404(author: Any, world: Any) -> None:
    post = await author.post()
    stranger = await world.account()
    for user_id, post_id in ((stranger.user_id, UUID(post["id"])), (author.user_id, uuid7())):
        command = UpdatePost(post_id=post_id, changes=GivenFields(caption="x"))
        reply = await author.scheduler.command(command, user_id)
        assert (reply.status, reply.body["code"]) == (404, "post_not_found")


REFUSALS: list[tuple[dict[str, Any], int, str]] = [
    ({"caption": "x" * 2201}, 422, "caption_too_long"),
    ({"hashtags": ["a b"]}, 422, "invalid_hashtag"),
    ({"privacy_level": None}, 422, "privacy_required"),
    ({"privacy_level": "FOLLOWER_OF_CREATOR"}, 422, "privacy_not_available"),
    ({"privacy_level": "SELF_ONLY", "brand_content_toggle": True}, 422, "branded_content_must_be_public"),
    ({"media_id": None}, 422, "source_required"),
    ({"media_id": "01a1fdb2-0a1b-76dd-9045-20f44e523155"}, 404, "media_not_found"),
    ({"cover_timestamp_ms": 15_001}, 422, "cover_beyond_end"),
    ({"scheduled_time": None}, 422, "scheduled_time_required"),
    ({"scheduled_time": "2001-01-01T00:00:00Z"}, 422, "scheduled_in_past"),
    ({"scheduled_time": "2029-03-25T02:30:00", "timezone": "Europe/Berlin"}, 422, "nonexistent_local_time"),
    ({"scheduled_time": "2029-03-26T02:30:00"}, 422, "timezone_required"),
    ({"timezone": "localtime"}, 422, "unknown_timezone"),
    ({"publish_before": "2001-01-01T00:00:00Z"}, 422, "invalid_post"),
    ({"draft": True}, 422, "already_scheduled"),
    ({"caption": "x" * 2201, "privacy_level": None}, 422, "invalid_post"),
]


async def test_the_full_checks_on_the_result(author: Any, world: Any) -> None:
    post = await author.post()
    for fields, status, code in REFUSALS:
        reply = await author.change(post, **fields)
        assert (reply.status, reply.body["code"]) == (status, code), fields
    assert (await author.change(post)).body == post


async def test_another_video_must_not_be_posted_twice(author: Any, world: Any) -> None:
    first = await author.post()
    second = await author.post(media_id=await world.media(author.user_id, sha256="cd" * 32))
    assert (await author.change(first, caption="its own video is no duplicate")).status == 200
    reply = await author.change(second, media_id=author.media_id)
    assert (reply.status, reply.body["code"], reply.body["post_id"]) == (409, "duplicate_media", first["id"])
    assert (await author.change(second, media_id=author.media_id, allow_duplicate=True)).status == 200
    assert (await author.change(second, caption="accepted once, it may be edited")).status == 200


async def test_a_draft_counts_from_when_it_is_given_its_time(author: Any, world: Any) -> None:
    """It lay there for days; the same video is a duplicate all the same, for a day from now on."""
    draft = await author.post(draft=True)
    await world.execute("UPDATE posts SET created_at = created_at - interval '3 days'")
    assert (await author.change(draft, draft=False)).status == 200
    again = await author.create()
    assert (again.status, again.body["code"], again.body["post_id"]) == (409, "duplicate_media", draft["id"])
    await world.execute("UPDATE posts SET video_since = video_since - interval '24 hours 1 second'")
    assert (await author.create()).status == 201


async def test_a_post_counts_from_when_it_gets_the_video(author: Any, world: Any) -> None:
    post = await author.post(media_id=await world.media(author.user_id, sha256="cd" * 32))
    await world.execute("UPDATE posts SET created_at = created_at - interval '3 days'")
    changed = await author.change(post, media_id=author.media_id)
    assert changed.status == 200
    again = await author.create()
    assert (again.status, again.body["code"], again.body["post_id"]) == (409, "duplicate_media", post["id"])
    # Its text is no new video, and nobody is told of what it counts from.
    await world.execute("UPDATE posts SET video_since = video_since - interval '24 hours 1 second'")
    assert (await author.change(changed.body, caption="other")).status == 200
    assert (await author.create()).status == 201
    assert all("video_since" not in envelope.data.get("changes", {}) for envelope in await world.told())


async def test_two_edits_to_the_same_video_are_serialised(author: Any, world: Any) -> None:
    posts = [await author.post(media_id=await world.media(author.user_id, sha256=f"{n}" * 64)) for n in range(5)]
    replies = await asyncio.gather(*(author.change(post, media_id=author.media_id) for post in posts))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 4


async def test_the_deadline_moves_with_the_time_unless_it_was_chosen(author: Any, world: Any) -> None:
    at = utc_now() + timedelta(hours=5)
    moved = await author.change(await author.post(), scheduled_time=rfc3339(at))
    assert moved.body["publish_before"] == rfc3339(at + timedelta(hours=24))
    assert moved.body["next_attempt_at"] == moved.body["scheduled_time"] == rfc3339(at)
    chosen = await author.post(publish_before=at + timedelta(days=9), allow_duplicate=True)
    kept = await author.change(chosen, scheduled_time=rfc3339(at))
    assert kept.body["publish_before"] == rfc3339(at + timedelta(days=9))
    early = await author.change(chosen, publish_before=rfc3339(at - timedelta(hours=1)))
    assert (early.status, early.body["code"]) == (422, "publish_before_too_early")
    # Publish-now leaves the time, and may set an earlier deadline.
    await world.execute("UPDATE posts SET publish_before = scheduled_time - interval '1 h' WHERE id = :id", id=chosen["id"])
    assert (await author.change(chosen, caption="Other")).status == 200
    reset = await author.change(chosen, publish_before=None)
    assert reset.body["publish_before"] == rfc3339(at + timedelta(hours=24))


async def test_a_time_that_stays_is_not_judged_again(author: Any, world: Any) -> None:
    """A post whose account is paused may be edited after its time has passed."""
    post = await author.post()
    await world.execute(
        "UPDATE posts SET held = true, held_reason = 'account_paused', scheduled_time = now() - interval '1 h'"
    )
    reply = await author.change(post, caption="better")
    assert (reply.status, reply.body["caption"]) == (200, "better")


async def test_a_local_time_takes_the_zone_that_is_known(author: Any) -> None:
    post = await author.post(timezone="Asia/Tokyo")
    reply = await author.change(post, scheduled_time="2029-03-26T02:30:00")
    assert reply.body["scheduled_time"] == "2029-03-25T17:30:00.000000Z"


async def test_an_earlier_time_wakes_the_due_loop(author: Any, world: Any, woken: list[UUID]) -> None:
    post = await author.post()
    assert woken == []
    await author.change(post, scheduled_time=rfc3339(utc_now() + timedelta(seconds=0.3)))
    assert woken == [UUID(post["id"])]

    async def claimed() -> Any:
        row = await only(world)
        return row if row.status == "due" else None

    row = await eventually(claimed)
    assert 0 <= (row.updated_at - row.due_at).total_seconds() < 60


async def test_an_edited_post_is_judged_with_another_account(author: Any, world: Any) -> None:
    post = await author.post()
    paused = await world.account(author.user_id, status="inactive")
    reply = await author.change(post, tiktok_account_id=str(paused.id))
    assert (reply.status, reply.body["tiktok_account_id"]) == (200, str(paused.id))
    assert (await only(world)).held_reason == "account_paused"
    foreign = await world.account()
    author.scheduler.neighbours.answers[f"GET accounts /internal/users/{author.user_id}/accounts/{foreign.id}"] = (404, {})
    refused = await author.change(post, tiktok_account_id=str(foreign.id))
    assert (refused.status, refused.body["code"]) == (404, "account_not_found")


async def test_the_same_command_twice_changes_once(author: Any) -> None:
    post = await author.post()
    envelope = {"command_id": uuid7(), "time": utc_now()}
    replies = await asyncio.gather(*(author.change(post, caption="once", envelope=envelope) for _ in range(5)))
    assert {reply.body["version"] for reply in replies} == {2}
    other = await author.change(post, caption="twice", envelope={**envelope, "body": "other"})
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")


async def test_a_change_that_comes_after_a_later_one_has_no_effect(author: Any) -> None:
    """Unless it names the version that it changes, or the clocks of two gateways may be that far apart."""
    post, then = await author.post(), utc_now() - timedelta(minutes=1)

    async def change(caption: str, seconds: float, **fields: Any) -> tuple[int, str, int]:
        envelope = {"time": then + timedelta(seconds=seconds)}
        reply = await author.change(post, caption=caption, envelope=envelope, **fields)
        return reply.status, reply.body.get("code") or reply.body["caption"], reply.body.get("version", 0)

    assert await change("new", 0) == (200, "new", 2)
    assert await change("old", -5) == (409, "post_changed", 0)
    assert await change("skewed", -1) == (200, "skewed", 3)
    # That did not take the place of the newest.
    assert await change("old", -2.5) == (409, "post_changed", 0)
    assert await change("known", -5, if_match=["3"]) == (200, "known", 4)
    # What changes nothing was wanted all the same.
    assert await change("known", 5) == (200, "known", 4)
    assert await change("old", 2.5) == (409, "post_changed", 0)


async def test_a_draft_is_completed_step_by_step(author: Any, world: Any) -> None:
    draft = await author.draft()
    assert (draft["status"], draft["scheduled_time"], draft["tiktok_account_id"]) == ("draft", None, None)
    at = rfc3339(utc_now() + timedelta(hours=3))
    missing = await author.change(draft, draft=False, scheduled_time=at, tiktok_account_id=str(author.account_id))
    assert (missing.status, missing.body["code"]) == (422, "invalid_post")
    assert [item["code"] for item in missing.body["errors"]] == ["privacy_required", "source_required"]
    steps: list[dict[str, Any]] = [
        {"caption": "Hi"},
        {"media_id": str(author.media_id)},
        {"privacy_level": "SELF_ONLY", "tiktok_account_id": str(author.account_id)},
        {"scheduled_time": at},
    ]
    for fields in steps:
        reply = await author.change(draft, **fields)
        assert (reply.status, reply.body["status"], reply.body["next_attempt_at"]) == (200, "draft", None)
    done = await author.change(draft, draft=False)
    shown = {name: done.body[name] for name in ("status", "scheduled_time", "next_attempt_at", "caption", "version")}
    assert shown == {"status": "scheduled", "scheduled_time": at, "next_attempt_at": at, "caption": "Hi", "version": 6}


async def test_a_draft_without_completing_shows_all_problems_at_once(author: Any) -> None:
    author.scheduler.neighbours.answers[f"GET accounts /internal/users/{author.user_id}/accounts"] = (200, {"items": []})
    draft = await author.draft(cover_timestamp_ms=5)
    reply = await author.change(draft, draft=False)
    assert [item["code"] for item in reply.body["errors"]] == [
        "privacy_required",
        "source_required",
        "scheduled_time_required",
        "account_required",
    ]


async def test_a_draft_whose_time_has_passed_is_told(author: Any, world: Any) -> None:
    draft = await author.draft(scheduled_time=utc_now() + timedelta(hours=1), media_id=author.media_id)
    await world.execute("UPDATE posts SET scheduled_time = now() - interval '2 minutes'")
    fields = {"draft": False, "privacy_level": "SELF_ONLY", "tiktok_account_id": str(author.account_id)}
    reply = await author.change(draft, **fields)
    assert (reply.status, reply.body["code"]) == (422, "scheduled_in_past")


async def test_a_completed_draft_is_held_while_its_account_is_paused(author: Any, world: Any) -> None:
    paused = await world.account(author.user_id, status="inactive")
    draft = await author.draft(media_id=author.media_id, privacy_level="SELF_ONLY", tiktok_account_id=paused.id)
    assert (await only(world)).held is False
    reply = await author.change(draft, draft=False, scheduled_time=rfc3339(utc_now() + timedelta(hours=1)))
    assert reply.body["status"] == "scheduled"
    assert (await only(world)).held_reason == "account_paused"


async def test_a_completed_draft_is_no_duplicate_of_itself_but_of_others(author: Any) -> None:
    await author.post()
    draft = await author.draft(
        media_id=author.media_id, privacy_level="SELF_ONLY", tiktok_account_id=author.account_id, caption="again"
    )
    reply = await author.change(draft, draft=False, scheduled_time=rfc3339(utc_now() + timedelta(hours=1)))
    assert (reply.status, reply.body["code"]) == (409, "duplicate_media")
