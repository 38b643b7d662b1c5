"""Every state says what is happening, why, and what comes next and when; with the publisher's word and without it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from common.clock import rfc3339, utc_now
from scheduler.domain.post import Post
from scheduler.domain.post_states import PostState

pytestmark = pytest.mark.integration

SOON = utc_now() + timedelta(hours=1)
AT = rfc3339(SOON)
ERROR = {"error_code": "tiktok_x", "error_message": "It failed.", "error_hint": "Try."}
DENIED = {"error_code": "webhook_denies_failure"}
DONE = {"next_attempt_at": None, "attempt": 1, "scheduled_time": utc_now()}


def why(code: str) -> dict[str, str]:
    return {"code": code, "message": "Because.", "hint": "Wait."}


SENDING = {"next_step": "upload", "upload": {"sent_bytes": 5, "total_bytes": 9}}
POLLING = {
    "next_step": "status",
    "next_step_at": AT,
    "tiktok_status": "PROCESSING_UPLOAD",
    "reason": why("tiktok_processing"),
}
BEGINNING = {"next_step": "init", "next_step_at": AT, "reason": why("tiktok_quota")}
IDENTIFYING = {"next_step": "identify", "next_step_at": AT, "reason": why("video_id_awaited")}
Case = tuple[str, dict[str, Any], dict[str, Any] | None, str | None, datetime | None, str | None]

# State, columns, what the publisher says (None: it is away); then the next step, when, and the code of the reason.
CASES: list[Case] = [
    ("draft", {"next_attempt_at": None, "scheduled_time": None}, None, "schedule", None, None),
    ("scheduled", {"next_attempt_at": SOON}, None, "publish", SOON, None),
    ("scheduled", {"held": True, "held_reason": "account_paused"}, None, "wait_for_account", None, "account_paused"),
    ("scheduled", {"held": True, "held_reason": "account_expired"}, None, "wait_for_account", None, "account_expired"),
    ("retry_scheduled", {"next_attempt_at": SOON, **ERROR}, None, "retry", SOON, "tiktok_x"),
    ("due", DONE, None, "start", None, "handed_over"),
    ("due", DONE, {"next_step": "access_token"}, "access_token", None, None),
    ("due", DONE, {"next_step": "access_token", "reason": why("waits_for_publisher")}, "access_token", None, "waits_for_publisher"),
    ("publishing", DONE, None, "upload", None, None),
    ("publishing", DONE, SENDING, "upload", None, None),
    ("publishing", DONE, SENDING | {"reason": why("waits_for_place")}, "upload", None, "waits_for_place"),
    ("deferred", DONE | ERROR | {"forecast_at": SOON}, None, "resume", SOON, "tiktok_x"),
    ("deferred", DONE | ERROR, None, "wait_for_account", None, "tiktok_x"),
    ("deferred", DONE | ERROR, BEGINNING, "init", SOON, "tiktok_quota"),
    ("processing", DONE, None, "wait_for_tiktok", None, None),
    ("processing", DONE, POLLING, "status", SOON, "tiktok_processing"),
    ("sent_to_inbox", DONE, None, "creator_posts_it", None, "draft_delivered"),
    ("published", DONE | {"tiktok_video_id": "73"}, None, None, None, None),
    ("published", DONE, None, None, None, None),
    ("published", DONE, IDENTIFYING, "identify", SOON, "video_id_awaited"),
    ("published", DONE, {"reason": why("video_id_unknown")}, None, None, "video_id_unknown"),
    ("unconfirmed", DONE | ERROR, None, "confirm_or_retry", None, "tiktok_x"),
    ("unconfirmed", DONE | ERROR, {"next_step": "look_again", "next_step_at": AT, "reason": why("x")}, "look_again", SOON, "x"),
    ("unconfirmed", DONE | ERROR, {"reason": why("x")}, "confirm_or_retry", None, "x"),
    ("failed", DONE | ERROR, None, None, None, "tiktok_x"),
    ("failed", DONE | ERROR | DENIED, None, "confirm_or_retry", None, "webhook_denies_failure"),
    ("cancelled", DONE, None, None, None, None),
    ("cancelled", DONE | ERROR, None, None, None, "tiktok_x"),
]  # fmt: skip


def test_no_state_is_left_out() -> None:
    assert {case[0] for case in CASES} == set(PostState)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[3]}-{case[5]}")
async def test_it_is_explained(world: Any, scheduler: Any, case: Case) -> None:
    state, columns, progress, next_step, at, code = case
    post: Post = await world.post(status=state, **columns)
    if progress is not None:
        path = f"GET publisher /internal/posts/{post.id}/progress"
        scheduler.neighbours.answers[path] = (200, {"attempt": 1, **progress})
    shown = (await scheduler.get(f"/internal/posts/{post.id}/status", post.user_id)).json()
    assert (shown["status"], shown["next_step"]) == (state, next_step)
    assert shown["next_step_at"] == (None if at is None else rfc3339(at))
    reason = shown["reason"]
    assert (None if reason is None else reason["code"]) == code
    if reason is not None:
        assert reason["message"].endswith(".")
        assert reason["hint"]
    told = progress or {}
    assert (shown["upload"], shown["tiktok_status"]) == (told.get("upload"), told.get("tiktok_status"))
    detail = (await scheduler.get(f"/internal/posts/{post.id}/detail", post.user_id)).json()
    assert detail["status"] == shown


async def test_what_the_publisher_says_of_another_attempt_does_not_count(world: Any, scheduler: Any) -> None:
    post = await world.post(status="unconfirmed", **(DONE | ERROR | {"attempt": 2}))
    path = f"GET publisher /internal/posts/{post.id}/progress"
    scheduler.neighbours.answers[path] = (200, {"attempt": 1, "next_step": "look_again", "reason": why("x")})
    shown = (await scheduler.get(f"/internal/posts/{post.id}/status", post.user_id)).json()
    assert (shown["next_step"], shown["reason"]["code"]) == ("confirm_or_retry", "tiktok_x")
