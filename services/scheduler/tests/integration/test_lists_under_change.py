"""Pages while posts come, go and change; cursors that were tampered with; odd text stored and given back."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from common.clock import rfc3339, utc_now
from common.ids import uuid7
from common.testing.plans import plans_of
from scheduler.storage.lists import PostFilter, list_posts

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_pages_are_complete_and_free_of_doubles_while_rows_come_and_go(world: Any, scheduler: Any, seed: int) -> None:
    """Between two pages rows are added, taken off and changed; who was there all the time is seen exactly once."""
    chance = random.Random(seed)
    user_id, account_id = uuid7(), uuid7()
    at = utc_now() + timedelta(days=1)

    def fields() -> dict[str, Any]:
        status = chance.choice(["published", "scheduled"])
        return {"user_id": user_id, "account_id": account_id, "status": status, "held": True, "next_attempt_at": at}

    made = [await world.post(**fields()) for _ in range(30)]
    filters: dict[str, Any] = chance.choice(
        [{}, {"status": "scheduled"}, {"account_id": str(account_id)}, {"from": rfc3339(at), "status": "published"}]
    )
    stays = {str(post.id): post for post in made if "status" not in filters or post.status == filters["status"]}
    seen: list[str] = []
    params = {**filters, "limit": chance.randint(1, 7)}
    for _ in range(100):
        page = (await scheduler.get("/internal/posts", user_id, params=params)).json()
        seen += [item["id"] for item in page["items"]]
        if not page["has_more"]:
            break
        params["cursor"] = page["cursor"]
        await world.post(**fields())
        if chance.random() < 0.5:
            gone = chance.choice(list(stays))
            await world.execute("UPDATE posts SET deleted_at = now() WHERE id = :id", id=gone)
            stays.pop(gone)
        await world.execute("UPDATE posts SET version = version + 1, updated_at = now(), caption = 'changed'")
    assert len(seen) == len(set(seen))
    assert set(seen) >= stays.keys()
    assert seen == sorted(seen, reverse=True)
    assert set(seen) <= {str(post.id) for post in made}


FILL = """
INSERT INTO posts (id, user_id, status, mode, transfer, scheduled_time)
SELECT gen_random_uuid(), :user_id, CASE WHEN n % 500 = 0 THEN 'failed' ELSE 'published' END, 'direct', 'upload',
       timestamptz '2030-01-01 00:00+00' + n * interval '1 minute' FROM generate_series(1, 5000) AS n
"""


async def test_a_filter_is_an_index_not_a_walk_through_all_posts_of_a_user(world: Any) -> None:
    """As planned for the values: a plan for any would be dearer here, so PostgreSQL does not take it."""
    user_id, start = uuid7(), datetime(2030, 1, 1, tzinfo=UTC)
    await world.execute(FILL, user_id=user_id)
    await world.execute("ANALYZE posts")
    few = PostFilter(since=start + timedelta(minutes=100), until=start + timedelta(minutes=110))
    for chosen, index in ((PostFilter(status="failed"), "ix_posts_user_status"), (few, "ix_posts_user_time")):

        async def ask(connection: AsyncConnection, chosen: PostFilter = chosen) -> None:
            await list_posts(connection, user_id, chosen, before=None, limit=21)

        for plan in [one for one in await plans_of(world.database, ask) if one.mode == "force_custom_plan"]:
            assert (set(plan.indexes), plan.whole_tables) == ({index}, frozenset())


async def test_pages_while_others_write_at_the_same_time(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    made = [str((await world.post(user_id=user_id, held=True)).id) for _ in range(40)]
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            post = await world.post(user_id=user_id, held=True)
            await world.execute("UPDATE posts SET deleted_at = now() WHERE id = :id", id=post.id)

    writing = [asyncio.create_task(write()) for _ in range(3)]
    try:
        for limit in (1, 7, 40):
            params: dict[str, Any] = {"limit": limit}
            seen: list[str] = []
            while True:
                page = (await scheduler.get("/internal/posts", user_id, params=params)).json()
                seen += [item["id"] for item in page["items"]]
                if not page["has_more"]:
                    break
                params["cursor"] = page["cursor"]
            assert [post for post in seen if post in set(made)] == made[::-1]
            assert len(seen) == len(set(seen))
    finally:
        stop.set()
        await asyncio.gather(*writing)


@pytest.mark.parametrize("seed", [1, 2])
async def test_pages_of_files_are_complete_and_free_of_doubles_too(world: Any, scheduler: Any, seed: int) -> None:
    chance = random.Random(seed)
    user_id = uuid7()
    made = [str(await world.media(user_id, status=chance.choice(["ready", "rejected"]))) for _ in range(20)]
    stays, seen = set(made), list[str]()
    params: dict[str, Any] = {"limit": chance.randint(1, 5)}
    while True:
        page = (await scheduler.get("/internal/media", user_id, params=params)).json()
        seen += [item["id"] for item in page["items"]]
        if not page["has_more"]:
            break
        params["cursor"] = page["cursor"]
        await world.media(user_id)
        gone = chance.choice(sorted(stays))
        await world.execute("UPDATE media SET deleted_at = now() WHERE id = :id", id=gone)
        await world.execute("UPDATE media SET status = 'ready', version = version + 1")
        stays.remove(gone)
    assert len(seen) == len(set(seen))
    assert stays <= set(seen) <= set(made)
    assert seen == sorted(seen, reverse=True)


async def test_a_cursor_that_was_tampered_with_is_refused(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    for _ in range(3):
        await world.post(user_id=user_id, held=True)
    cursor = (await scheduler.get("/internal/posts", user_id, params={"limit": 1})).json()["cursor"]
    other = "B" if cursor[-1] != "B" else "C"
    altered = [
        cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :] for place in range(len(cursor) - 1)
    ]
    for text in [
        *altered,
        cursor[:-2] + other * 2,
        cursor + "A",
        cursor[1:],
        cursor * 2,
        "",
        " ",
        "%00",
        "😀",
        "=" * 8,
        "null",
    ]:
        answer = await scheduler.get("/internal/posts", user_id, params={"limit": 1, "cursor": text})
        assert (answer.status_code, answer.json()["code"]) in {(422, "invalid_cursor"), (422, "invalid_request")}, text
    for params in ({"status": "scheduled"}, {"account_id": str(uuid7())}, {"from": rfc3339(utc_now())}):
        answer = await scheduler.get("/internal/posts", user_id, params={"cursor": cursor, **params})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
    another_size = await scheduler.get("/internal/posts", user_id, params={"limit": 2, "cursor": cursor})
    assert another_size.status_code == 200


ODD = {
    "combining marks": "e\u0301" * 1000,
    "emoji": "\U0001f469\u200d\U0001f467\ufe0f\U0001f3fd",
    "bidirectional controls": "\u202eabc\u202c \u2066x\u2069",
    "not a character": "\ufffe\uffff",
    "line ends and controls": "a\r\nb\u2028c\x01\x1b[31m",
    "the last code point": "\U0010ffff",
    "2200 units": "\U0001f600" * 1100,
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_text_is_given_back_as_it_came(author: Any, name: str) -> None:
    post = await author.post(caption=ODD[name], allow_duplicate=True)
    read = await author.scheduler.get(f"/internal/posts/{post['id']}", author.user_id)
    assert post["caption"] == read.json()["caption"] == ODD[name]
    changed = await author.change(
        post, caption=ODD[name][::-1], hashtags=["\u0301x", "\U0001f600"] if len(ODD[name]) < 900 else []
    )
    assert (changed.status, changed.body["caption"]) == (200, ODD[name][::-1])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"caption": "\U0001f600" * 1100 + "x"}, "caption_too_long"),
        ({"caption": "x" * 2199, "hashtags": ["a"]}, "caption_too_long"),
        ({"caption": "e\u0301" * 1101}, "caption_too_long"),
        ({"caption": "a\x00b"}, "invalid_characters"),
        ({"hashtags": ["x" * 101]}, "invalid_hashtag"),
        ({"hashtags": [""]}, "invalid_hashtag"),
        ({"hashtags": ["a\u2003b"]}, "invalid_hashtag"),
        ({"mentions": ["a\u00a0b"]}, "invalid_mention"),
        ({"timezone": "Europe/Berlin\u202e"}, "unknown_timezone"),
        ({"timezone": "factory"}, "unknown_timezone"),
    ],
)
async def test_text_beyond_the_rules_is_refused_by_name(author: Any, fields: dict[str, Any], code: str) -> None:
    body = await author.refused(code, 422, **fields)
    assert body["errors"][0]["code"] == code
