"""Batches of posts, and validation, which share the checks of creation."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from common.clock import rfc3339, utc_now
from common.contracts.scheduler import CreatePosts, GivenFields, Row, RowProblem
from common.ids import uuid7

pytestmark = pytest.mark.integration


def row(author: Any, number: int, **fields: Any) -> Row:
    return Row(row=number, post=GivenFields.model_validate(author.plain() | {"allow_duplicate": True} | fields))


async def send(author: Any, rows: list[Row], *, envelope: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    reply = await author.scheduler.command(CreatePosts(rows=rows, **fields), author.user_id, **(envelope or {}))
    assert reply.status == 200, reply.body
    body: dict[str, Any] = reply.body
    return body


def verdicts(body: dict[str, Any]) -> list[tuple[str, list[str]]]:
    assert [item["row"] for item in body["items"]] == list(range(1, len(body["items"]) + 1))
    return [(item["status"], [problem["code"] for problem in item["problems"]]) for item in body["items"]]


def mixed(author: Any) -> list[Row]:
    unread = RowProblem(field="caption", code="string_type", message="Input should be a valid string")
    return [
        row(author, 1, caption="first"),
        Row(row=2, problems=[unread]),
        row(author, 3, privacy_level=None, caption="x" * 2201),
        row(author, 4, caption="fourth", tiktok_account_id=uuid7()),
        row(author, 5, caption="fifth"),
    ]


EXPECTED = [
    ("valid", []),
    ("invalid", ["string_type"]),
    ("invalid", ["caption_too_long", "privacy_required"]),
    ("invalid", ["account_not_found"]),
    ("valid", []),
]


async def test_all_or_nothing(author: Any, world: Any) -> None:
    rows = mixed(author)
    unknown = rows[3].post.tiktok_account_id
    author.scheduler.neighbours.answers[f"GET accounts /internal/users/{author.user_id}/accounts/{unknown}"] = (404, {})
    body = await send(author, rows)
    assert verdicts(body) == EXPECTED
    counts = {name: body[name] for name in ("mode", "dry_run", "total", "created", "valid", "invalid")}
    assert counts == {"mode": "all_or_nothing", "dry_run": False, "total": 5, "created": 0, "valid": 2, "invalid": 3}
    assert await world.counts() == {}
    good = await send(author, [row(author, 1), row(author, 2)])
    assert verdicts(good) == [("created", [])] * 2
    assert await world.counts() == {"scheduled": 2}


async def test_valid_rows(author: Any, world: Any) -> None:
    rows = mixed(author)
    unknown = rows[3].post.tiktok_account_id
    author.scheduler.neighbours.answers[f"GET accounts /internal/users/{author.user_id}/accounts/{unknown}"] = (404, {})
    body = await send(author, rows, mode="valid_rows")
    assert verdicts(body) == [("created", []), *EXPECTED[1:4], ("created", [])]
    assert await world.counts() == {"scheduled": 2}
    posts = [item["post"] for item in body["items"]]
    assert [post and post["caption"] for post in posts] == ["first", None, None, None, "fifth"]
    for post in (posts[0], posts[4]):
        read = await author.scheduler.get(f"/internal/posts/{post['id']}", author.user_id)
        assert read.json() == post


@pytest.mark.parametrize("mode", ["all_or_nothing", "valid_rows"])
async def test_a_dry_run_stores_nothing(author: Any, world: Any, mode: str) -> None:
    body = await send(author, [row(author, 1), row(author, 2, privacy_level=None)], mode=mode, dry_run=True)
    assert verdicts(body) == [("valid", []), ("invalid", ["privacy_required"])]
    assert (body["created"], await world.counts()) == (0, {})


async def test_one_key_for_the_batch(author: Any, world: Any) -> None:
    envelope = {"command_id": uuid7(), "time": utc_now()}
    rows = [row(author, number) for number in range(1, 21)]
    bodies = await asyncio.gather(*(send(author, rows, envelope=envelope) for _ in range(4)))
    assert all(body == bodies[0] for body in bodies)
    assert await world.counts() == {"scheduled": 20}


@pytest.mark.parametrize("fields", [{}, {"mode": "valid_rows"}, {"dry_run": True}], ids=["all", "valid", "dry"])
async def test_a_key_under_which_nothing_was_stored_is_not_used_up(author: Any, world: Any, fields: dict[str, Any]) -> None:
    envelope = {"command_id": uuid7(), "time": utc_now()}
    wrong = [row(author, 1, privacy_level=None)]
    bad = await send(author, wrong, envelope=envelope, **fields)
    assert (bad["created"], bad["invalid"]) == (0, 1)
    shown = await author.scheduler.get(f"/internal/operations/{envelope['command_id']}", author.user_id)
    assert shown.json()["body"] == bad
    good = await send(author, [row(author, 1)], envelope=envelope | {"body": "corrected"})
    assert (good["created"], await world.counts()) == (1, {"scheduled": 1})
    assert await send(author, [row(author, 1)], envelope=envelope | {"body": "corrected"}) == good
    assert await world.counts() == {"scheduled": 1}


async def test_as_many_posts_as_are_promised_with_the_longest_captions(author: Any, world: Any) -> None:
    longest = "\u20ac" * 2200
    body = await send(author, [row(author, number, caption=longest) for number in range(1, 501)])
    assert (body["created"], await world.counts()) == (500, {"scheduled": 500})
    assert {item["post"]["caption"] for item in body["items"]} == {longest}


async def test_a_video_twice_in_a_batch_is_a_duplicate(author: Any, world: Any) -> None:
    rows = [row(author, number, allow_duplicate=False) for number in (1, 2)] + [row(author, 3)]
    assert verdicts(await send(author, rows, mode="valid_rows")) == [
        ("created", []),
        ("invalid", ["duplicate_media"]),
        ("created", []),
    ]


async def test_a_row_that_may_be_one_makes_the_next_a_duplicate(author: Any, world: Any) -> None:
    """As two posts one after the other."""
    rows = [row(author, 1, allow_duplicate=True), row(author, 2, allow_duplicate=False)]
    assert verdicts(await send(author, rows, mode="valid_rows")) == [("created", []), ("invalid", ["duplicate_media"])]
    assert await world.counts() == {"scheduled": 1}


async def test_batches_and_single_posts_of_the_same_video_are_serialised(author: Any, world: Any) -> None:
    files = [await world.media(author.user_id, sha256=f"{n}" * 64) for n in range(6)]

    async def batch(order: list[Any]) -> int:
        rows = [row(author, n, media_id=file, allow_duplicate=False) for n, file in enumerate(order, 1)]
        return int((await send(author, rows, mode="valid_rows"))["created"])

    made = await asyncio.gather(
        batch(files), batch(files[::-1]), batch(files[3:] + files[:3]), author.create(media_id=files[0])
    )
    assert sum(made[:3]) + (made[3].status == 201) == 6
    assert await world.counts() == {"scheduled": 6}


async def test_drafts_in_a_batch_need_nothing(author: Any, world: Any) -> None:
    rows = [Row(row=number, post=GivenFields(draft=True, caption=f"idea {number}")) for number in (1, 2)]
    assert verdicts(await send(author, rows)) == [("created", [])] * 2
    assert await world.counts() == {"draft": 2}


async def test_accounts_away_is_told_for_the_whole_batch(author: Any, world: Any) -> None:
    """A row that breaks rules by itself does not speak for the others."""
    rows = [row(author, 1), row(author, 2, tiktok_account_id=uuid7()), row(author, 3, privacy_level=None)]
    for dry_run in (False, True):
        reply = await author.scheduler.command(CreatePosts(rows=rows, mode="valid_rows", dry_run=dry_run), author.user_id)
        assert (reply.status, reply.body["code"]) == (503, "accounts_unavailable")
        assert int(reply.headers["Retry-After"]) >= 1
    assert await world.counts() == {}


async def test_500_rows(author: Any, world: Any) -> None:
    at = utc_now() + timedelta(days=1)
    rows = [
        row(author, number, caption=f"caption {number} " + "é" * 150, scheduled_time=at + timedelta(minutes=number))
        for number in range(1, 501)
    ]
    body = await send(author, rows)
    assert (body["created"], await world.counts()) == (500, {"scheduled": 500})
    captions = [item["post"]["caption"] for item in body["items"]]
    assert captions == [command.post.caption for command in rows]


# Validation


async def validate(author: Any, status: int = 200, **fields: Any) -> dict[str, Any]:
    body = GivenFields.model_validate(author.plain() | fields).to_data()
    async with httpx.AsyncClient(base_url=author.scheduler.url, trust_env=False, timeout=10) as http:
        headers = author.scheduler.user_keys.authorization(author.user_id)
        answer = await http.post("/internal/posts/validate", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_valid_post_has_no_problems_and_is_not_stored(author: Any, world: Any) -> None:
    assert await validate(author) == {"valid": True, "problems": [], "warnings": []}
    assert await world.counts() == {}
    assert await world.told() == []


async def test_validation_shows_all_problems_at_once(author: Any, world: Any) -> None:
    await author.post()
    found = await validate(
        author,
        caption="x" * 2201,
        hashtags=["a b"],
        privacy_level="FOLLOWER_OF_CREATOR",
        scheduled_time="2029-03-25T02:30:00",
        timezone="Europe/Berlin",
        cover_timestamp_ms=15_001,
    )
    assert found["valid"] is False
    assert [(problem["field"], problem["code"]) for problem in found["problems"]] == [
        ("scheduled_time", "nonexistent_local_time"),
        ("hashtags.0", "invalid_hashtag"),
        ("caption", "caption_too_long"),
        ("privacy_level", "privacy_not_available"),
        ("cover_timestamp_ms", "cover_beyond_end"),
        ("media_id", "duplicate_media"),
    ]
    assert all({"field", "code", "message", "hint"} <= set(problem) for problem in found["problems"])
    assert found["problems"][0]["alternatives"] == ["2029-03-25T01:30:00+01:00", "2029-03-25T03:30:00+02:00"]


BROKEN: list[dict[str, Any]] = [
    {"caption": "a" * 2200},
    {"caption": "\U0001f600" * 1101},
    {"privacy_level": None},
    {"media_id": None},
    {"media_id": str(uuid7())},
    {"scheduled_time": None},
    {"scheduled_time": "2001-01-01T00:00:00Z"},
    {"scheduled_time": "2044-01-01T00:00:00Z"},
    {"timezone": "Factory"},
    {"mode": "inbox"},
    {"draft": True, "privacy_level": None, "media_id": None, "scheduled_time": None},
    {"draft": True, "timezone": "localtime", "scheduled_time": None},
    {"brand_content_toggle": True, "privacy_level": "SELF_ONLY"},
    {"publish_before": "2001-01-01T00:00:00Z"},
    {"caption": "", "hashtags": ["#", ""], "mentions": ["@a b"]},
]


async def test_validation_says_what_creation_would(author: Any) -> None:
    for fields in BROKEN:
        found = await validate(author, **fields)
        reply = await author.create(**fields)
        errors = [] if reply.status == 201 else [item["code"] for item in reply.body["errors"]]
        assert [problem["code"] for problem in found["problems"]] == errors, fields
        assert found["valid"] is (reply.status == 201)


@pytest.mark.parametrize("status", ["active", "inactive", "expired"])
async def test_the_warnings_of_a_post_show_before_it_is_made(author: Any, world: Any, status: str) -> None:
    """In validation, in a dry run and in the post the same ones: the creator may not post now, the account waits."""
    told = {"code": "tiktok_reached_active_user_cap", "detail": "The daily cap is reached."}
    path = f"GET accounts /internal/users/{author.user_id}/accounts/{author.account_id}/creator-info"
    author.scheduler.neighbours.answers[path] = (409, told)
    await world.execute("UPDATE accounts SET status = :status", status=status)
    codes = {"active": told["code"], "inactive": "account_paused", "expired": "account_expired"}
    found = await validate(author)
    assert (found["valid"], [item["code"] for item in found["warnings"]]) == (True, [codes[status]])
    (tried,) = (await send(author, [row(author, 1)], dry_run=True))["items"]
    (made,) = (await send(author, [row(author, 1)]))["items"]
    assert tried["warnings"] == made["warnings"] == made["post"]["warnings"] == found["warnings"]


SCOPES = {"direct": "video.publish", "inbox": "video.upload"}


@pytest.mark.parametrize(("mode", "level"), [("direct", "SELF_ONLY"), ("inbox", None)])
async def test_what_the_creator_has_not_granted_shows_before_it_is_made(author: Any, mode: str, level: str | None) -> None:
    """Where it is needed: direct posts need another right than drafts for the inbox."""
    answers = author.scheduler.neighbours.answers
    account = {"id": str(author.account_id), "status": "active", "version": 1}
    path = f"GET accounts /internal/users/{author.user_id}/accounts/{author.account_id}"
    other = next(scope for name, scope in SCOPES.items() if name != mode)
    answers[path] = (200, account | {"scopes": ["user.info.basic", other]})
    # What accounts answers then: no privacy levels, and that is no doubt of its own.
    missing = {"code": "missing_scope", "detail": "The TikTok account does not grant a right that this needs."}
    answers[f"{path}/creator-info"] = (409, missing)
    fields = {"mode": mode, "privacy_level": level, "caption": ""}
    found = await validate(author, **fields)
    (warning,) = found["warnings"]
    assert (found["valid"], warning["field"], warning["code"]) == (True, "tiktok_account_id", "missing_scope")
    assert SCOPES[mode] in warning["message"]
    assert "Connect the account again" in warning["hint"]
    (tried,) = (await send(author, [row(author, 1, **fields)], dry_run=True))["items"]
    made = await author.post(**fields)
    assert tried["warnings"] == made["warnings"] == found["warnings"]


@pytest.mark.parametrize(("mode", "level"), [("direct", "SELF_ONLY"), ("inbox", None)])
async def test_what_this_mode_does_not_need_is_no_warning(author: Any, mode: str, level: str | None) -> None:
    account = {"id": str(author.account_id), "status": "active", "version": 1, "scopes": [SCOPES[mode]]}
    path = f"GET accounts /internal/users/{author.user_id}/accounts/{author.account_id}"
    author.scheduler.neighbours.answers[path] = (200, account)
    assert (await validate(author, mode=mode, privacy_level=level, caption=""))["warnings"] == []


async def test_validation_needs_the_right_to_write(author: Any) -> None:
    async with httpx.AsyncClient(base_url=author.scheduler.url, trust_env=False) as http:
        headers = author.scheduler.user_keys.authorization(author.user_id, api_key_id="k", scopes=["posts:read"])
        assert (await http.post("/internal/posts/validate", json={}, headers=headers)).status_code == 403
        assert (await http.post("/internal/posts/validate", json={})).status_code == 401


async def test_accounts_away_counts_less_than_what_is_wrong_anyway(author: Any) -> None:
    wrong = await author.create(tiktok_account_id=uuid7(), privacy_level=None)
    assert (wrong.status, wrong.body["code"]) == (422, "privacy_required")
    found = await validate(author, tiktok_account_id=uuid7(), privacy_level=None, media_id=uuid7(), caption="x" * 2201)
    assert (found["valid"], [item["code"] for item in found["warnings"]]) == (False, ["accounts_unavailable"])
    assert [item["code"] for item in found["problems"]] == ["caption_too_long", "privacy_required", "media_not_found"]
    assert (await validate(author, 503, tiktok_account_id=uuid7()))["code"] == "accounts_unavailable"
    away = await author.create(tiktok_account_id=uuid7(), scheduled_time=rfc3339(utc_now() + timedelta(hours=1)))
    assert (away.status, away.body["code"]) == (503, "accounts_unavailable")
