"""Internal HTTP: lists, single posts, status, details, operations; for their owner only."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, insert

from common.clock import rfc3339, utc_now
from common.contracts.scheduler import CancelPost
from common.ids import uuid7
from scheduler.domain.post import Post
from scheduler.storage.posts import insert_post
from scheduler.storage.tables import posts

pytestmark = pytest.mark.integration


async def items(scheduler: Any, user_id: UUID, **params: Any) -> list[str]:
    page = await scheduler.get("/internal/posts", user_id, params=params)
    assert page.status_code == 200, page.text
    return [item["id"] for item in page.json()["items"]]


async def test_pages_newest_first(world: Any, scheduler: Any, values: Any) -> None:
    user_id = uuid7()
    made = [await world.post(user_id=user_id) for _ in range(7)]
    await world.post()
    await world.post(user_id=user_id, deleted_at=utc_now())
    newest_first = [str(post.id) for post in reversed(made)]
    assert await items(scheduler, user_id) == newest_first
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 3}
    while True:
        page = (await scheduler.get("/internal/posts", user_id, params=params)).json()
        assert (page["total"], page["total_is_capped"]) == (7, False)
        seen += [item["id"] for item in page["items"]]
        await world.post(user_id=user_id, deleted_at=utc_now())
        if not page["has_more"]:
            break
        params["cursor"] = page["cursor"]
    assert (seen, page["cursor"]) == (newest_first, None)


async def test_pages_stay_whole_while_rows_come_and_go(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    made = [await world.post(user_id=user_id) for _ in range(9)]
    first = (await scheduler.get("/internal/posts", user_id, params={"limit": 4})).json()
    await world.post(user_id=user_id)
    await world.execute("UPDATE posts SET deleted_at = now() WHERE id = :id", id=made[5].id)
    await world.execute("UPDATE posts SET deleted_at = now() WHERE id = :id", id=made[2].id)
    second = (await scheduler.get("/internal/posts", user_id, params={"limit": 9, "cursor": first["cursor"]})).json()
    seen = [item["id"] for item in first["items"] + second["items"]]
    assert seen == [str(made[number].id) for number in (8, 7, 6, 5, 4, 3, 1, 0)]


async def test_filters(world: Any, scheduler: Any) -> None:
    user_id, account_id = uuid7(), uuid7()
    at = utc_now() + timedelta(days=1)
    mine = await world.post(user_id=user_id, account_id=account_id, next_attempt_at=at)
    done = await world.post(user_id=user_id, status="published", next_attempt_at=at + timedelta(days=1))
    draft = await world.post(user_id=user_id, status="draft", next_attempt_at=None)
    assert await items(scheduler, user_id, status="published") == [str(done.id)]
    assert await items(scheduler, user_id, account_id=str(account_id)) == [str(mine.id)]
    later = rfc3339(at + timedelta(hours=1))
    assert await items(scheduler, user_id, **{"from": later}) == [str(done.id)]
    assert await items(scheduler, user_id, to=later) == [str(mine.id)]
    assert await items(scheduler, user_id, **{"from": rfc3339(at), "to": later}) == [str(mine.id)]
    assert await items(scheduler, user_id, status="draft", account_id=str(draft.account_id)) == [str(draft.id)]
    assert await items(scheduler, user_id, status="failed") == []


async def test_the_total_is_capped(world: Any, scheduler: Any, values: Any) -> None:
    user_id = uuid7()
    async with world.database.transaction() as tx:
        await tx.connection.execute(insert(posts), [values(user_id=user_id, held=True) for _ in range(10_001)])
    page = (await scheduler.get("/internal/posts", user_id, params={"limit": 1})).json()
    assert (page["total"], page["total_is_capped"], page["has_more"]) == (10_000, True, True)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": 101},
        {"limit": "many"},
        {"status": "unheard"},
        {"account_id": "x"},
        {"from": "2026-01-01T00:00:00"},
        {"from": "0001-01-01T00:00:00+14:00"},
        {"to": "9999-12-31T23:59:59-14:00"},
        {"to": "1"},
        {"to": "yesterday"},
        {"cursor": "AAAA"},
        {"cursor": "x" * 2000},
    ],
)
async def test_bad_queries_are_422(scheduler: Any, params: dict[str, Any]) -> None:
    answer = await scheduler.get("/internal/posts", uuid7(), params=params)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_cursor_belongs_to_its_list(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    for _ in range(2):
        await world.post(user_id=user_id)
    cursor = (await scheduler.get("/internal/posts", user_id, params={"limit": 1})).json()["cursor"]
    for user, params in ((uuid7(), {}), (user_id, {"status": "draft"})):
        answer = await scheduler.get("/internal/posts", user, params={"cursor": cursor, **params})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("path", ["", "/status", "/detail"])
async def test_others_and_unknown_posts_are_404(world: Any, scheduler: Any, path: str) -> None:
    post = await world.post()
    for post_id, user_id in ((post.id, uuid7()), (uuid7(), post.user_id), ("x", post.user_id)):
        assert (await scheduler.get(f"/internal/posts/{post_id}{path}", user_id)).status_code == 404


async def moving(world: Any, **fields: Any) -> Post:
    values = {"status": "publishing", "attempt": 2, "next_attempt_at": None, "scheduled_time": utc_now()}
    post: Post = await world.post(**{**values, **fields})
    return post


async def test_status_with_the_publishers_progress(world: Any, scheduler: Any) -> None:
    post = await moving(world)
    later = utc_now() + timedelta(minutes=5)
    progress = {
        "attempt": 2,
        "upload": {"sent_bytes": 5, "total_bytes": 10},
        "publish_id": "v~1",
        "tiktok_status": "PROCESSING_UPLOAD",
        "next_step": "upload",
        "next_step_at": None,
        "reason": {"code": "tiktok_server_error", "message": "TikTok did not answer.", "hint": None, "log_id": "ignored"},
        "updated_at": rfc3339(later),
        "more": "ignored",
    }
    scheduler.neighbours.answers[f"GET publisher /internal/posts/{post.id}/progress"] = (200, progress)
    assert (await scheduler.get(f"/internal/posts/{post.id}/status", post.user_id)).json() == {
        "post_id": str(post.id),
        "status": "publishing",
        "attempt": 2,
        "fetch": None,
        "upload": {"sent_bytes": 5, "total_bytes": 10},
        "publish_id": "v~1",
        "tiktok_status": "PROCESSING_UPLOAD",
        "next_step": "upload",
        "next_step_at": None,
        "reason": {"code": "tiktok_server_error", "message": "TikTok did not answer.", "hint": None},
        "updated_at": rfc3339(later),
    }


@pytest.mark.parametrize("answer", [None, (404, {}), (200, {"attempt": "x"}), (200, {"attempt": 1, "publish_id": "old"})])
async def test_status_without_it(world: Any, scheduler: Any, answer: Any) -> None:
    forecast = utc_now() + timedelta(minutes=3)
    reason = {"error_code": "quota", "error_message": "Wait.", "error_hint": "Later."}
    post = await moving(world, status="deferred", forecast_at=forecast, **reason)
    if answer is not None:
        scheduler.neighbours.answers[f"GET publisher /internal/posts/{post.id}/progress"] = answer
    status = (await scheduler.get(f"/internal/posts/{post.id}/status", post.user_id)).json()
    assert (status["upload"], status["publish_id"]) == (None, None)
    assert (status["next_step"], status["next_step_at"]) == ("resume", rfc3339(forecast))
    assert status["reason"] == {"code": "quota", "message": "Wait.", "hint": "Later."}


@pytest.mark.parametrize(
    ("status", "next_step"),
    [
        ("scheduled", "publish"),
        ("draft", "schedule"),
        ("published", None),
        ("failed", None),
        ("cancelled", None),
        ("retry_scheduled", "retry"),
        ("sent_to_inbox", "creator_posts_it"),
    ],
)
async def test_status_of_what_does_not_move_asks_nobody(
    world: Any, scheduler: Any, status: str, next_step: str | None
) -> None:
    post = await world.post(status=status, next_attempt_at=utc_now() + timedelta(hours=1), tiktok_video_id="73")
    body = (await scheduler.get(f"/internal/posts/{post.id}/status", post.user_id)).json()
    assert body["next_step"] == next_step
    assert (body["reason"] or {}).get("code") == ("draft_delivered" if status == "sent_to_inbox" else None)
    assert scheduler.neighbours.asked == []


async def test_detail(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id)
    post = await world.post(user_id=user_id, media_id=media_id, next_attempt_at=utc_now() + timedelta(hours=1))
    log = {"at": "2026-01-01T00:00:00Z", "type": "t", "message": "m", "attempt": 1, "replica": None, "details": {"a": 1}}
    timeline = f"GET analytics /internal/posts/{post.id}/timeline"
    scheduler.neighbours.answers[timeline] = (200, {"items": [log]})
    detail = (await scheduler.get(f"/internal/posts/{post.id}/detail", user_id)).json()
    assert list(detail) == [*("post", "planning", "execution_logs", "execution_logs_complete", "attached_media", "status")]
    assert detail["post"]["id"] == str(post.id)
    assert detail["status"] == (await scheduler.get(f"/internal/posts/{post.id}/status", user_id)).json()
    assert [step["step"] for step in detail["planning"]] == [
        "created",
        "scheduled",
        "due",
        "upload",
        "processing",
        "published",
    ]
    assert detail["planning"][1] == {
        "step": "scheduled",
        "status": "active",
        "started_at": rfc3339(post.created_at),
        "finished_at": None,
    }
    assert (detail["execution_logs"], detail["execution_logs_complete"]) == ([log], True)
    assert [item["id"] for item in detail["attached_media"]] == [str(media_id)]
    at = rfc3339(post.created_at + timedelta(hours=2))
    logs = [log, log | {"type": "post.scheduled", "at": at}]
    scheduler.neighbours.answers[timeline] = (200, {"items": logs, "truncated": True})
    detail = (await scheduler.get(f"/internal/posts/{post.id}/detail", user_id)).json()
    assert (detail["execution_logs"], detail["execution_logs_complete"]) == (logs, False)
    assert [step["started_at"] for step in detail["planning"]][:2] == [rfc3339(post.created_at), at]


async def test_detail_without_analytics(world: Any, scheduler: Any) -> None:
    post = await world.post(media_id=uuid7(), next_attempt_at=utc_now() + timedelta(hours=1))
    detail = (await scheduler.get(f"/internal/posts/{post.id}/detail", post.user_id)).json()
    assert (detail["execution_logs"], detail["execution_logs_complete"], detail["attached_media"]) == ([], False, [])


async def test_operations(world: Any, scheduler: Any) -> None:
    command_id, user_id = uuid7(), uuid7()
    assert (await scheduler.get(f"/internal/operations/{command_id}", user_id)).status_code == 404
    reply = await scheduler.command(CancelPost(post_id=uuid7()), user_id, command_id=command_id)
    stored = await scheduler.get(f"/internal/operations/{command_id}", user_id)
    assert stored.json() == reply.model_dump(mode="json")
    assert (await scheduler.get(f"/internal/operations/{command_id}", uuid7())).status_code == 404


async def test_an_api_keys_scopes_count(scheduler: Any) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=scheduler.url, trust_env=False) as http:
        headers = scheduler.user_keys.authorization(uuid7(), api_key_id="k", scopes=["media:write"])
        assert (await http.get("/internal/posts", headers=headers)).status_code == 403
        assert (await http.get("/internal/posts")).status_code == 401


async def test_ready_and_alive(scheduler: Any) -> None:
    ready = await scheduler.get("/readyz", uuid7())
    assert ready.status_code == 200, ready.text
    assert {"due_posts", "Relay", "sweep_moving", "database", "broker", "consumer", "media_consumer"} <= set(
        ready.json()["checks"]
    )


async def test_created_posts_have_the_databases_time(world: Any, values: Any) -> None:
    async with world.database.transaction() as tx:
        post = await insert_post(tx.connection, values())
        assert post.created_at == await tx.connection.scalar(func.now().select())
