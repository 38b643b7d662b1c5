"""Examples of events: one plausible value for each field, by its name where that says more than its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.contracts.message import Event

Json = dict[str, Any]

USER = "0193a000-0000-7000-8000-0000000000a1"
API_KEY = "0193a000-0000-7000-8000-0000000000a3"
MOMENT = "2026-11-21T07:00:00.004000Z"
IP = "192.0.2.7"
AGENT = "curl/8.5.0"
REQUEST = "0193a000-0000-7000-8000-0000000000c1"

_BY_NAME: Mapping[str, Any] = {
    "account_id": "0193a000-0000-7000-8000-0000000000a2",
    "action": "dead_letters_replayed",
    "api_key_id": API_KEY,
    "attempt": 1,
    "changes": {"caption": ["An idea", "A better idea"]},
    "client_key": "awx1y2z3",
    "code": "tiktok_rate_limit_exceeded",
    "collected_at": "2026-11-21T07:12:40Z",
    "content": {"publish_id": "v_pub_file~v2-1.123456789", "publish_type": "DIRECT_PUBLISH"},
    "content_type": "video/mp4",
    "create_time": 1_795_244_400,
    "details": {"queue": "scheduler.commands", "count": 2, "ids": ["0193a000-0000-7000-8000-0000000000c2"]},
    "display_name": "Ada",
    "due_at": "2026-11-21T07:00:00Z",
    "duration_ms": 15_000,
    "event": "post.publish.complete",
    "expires_at": "2026-12-21T07:00:00Z",
    "filename": "launch.mp4",
    "follower_count": 1200,
    "following_count": 85,
    "fps": 30.0,
    "hashtags": ["cuepost"],
    "height": 1920,
    "hint": "Nothing to do: it is tried again by itself.",
    "job_id": "0193a000-0000-7000-8000-0000000000a4",
    "lateness_ms": 4.1,
    "likes_count": 15_400,
    "log_id": "20261121070000ABCDEF0123456789",
    "media_id": "0193a000-0000-7000-8000-0000000000a5",
    "message": "TikTok takes no more requests for this account at the moment.",
    "name": "reporting",
    "next_attempt_at": "2026-11-21T07:01:00Z",
    "operation": "POST /api/v1/posts",
    "post_id": "0193a000-0000-7000-8000-0000000000a6",
    "prefix": "cpk_Zx81",
    "problems": [{"code": "video_too_long", "message": "The video is longer than 10 minutes."}],
    "publish_before": "2026-11-22T07:00:00Z",
    "publish_id": "v_pub_file~v2-1.123456789",
    "published_at": "2026-11-21T07:00:09Z",
    "replica": "publisher-1",
    "retry_after": 60.0,
    "right": "posts:write",
    "scheduled_time": "2026-11-21T07:00:00Z",
    "scopes": ["audit:read"],
    "session_id": "0193a000-0000-7000-8000-0000000000a7",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 7_340_032,
    "started_at": "2026-11-21T07:00:00.004Z",
    "status": "scheduled",
    "storage_key": "media/0193a000/launch.mp4",
    "synced_at": "2026-11-21T07:00:00Z",
    "tiktok_user_id": "-000abcDEF",
    "tiktok_video_id": "7300000000000000001",
    "timezone": "Europe/Berlin",
    "title": "Launch day #cuepost",
    "tokens_expire_at": "2026-11-22T07:00:00Z",
    "total_bytes": 7_340_032,
    "until": "2026-11-21T07:01:00Z",
    "user_id": USER,
    "user_openid": "-000abcDEF",
    "username": "ada",
    "video_codec": "h264",
    "video_count": 42,
    "video_url": "https://www.tiktok.com/@ada/video/7300000000000000001",
    "width": 1080,
    "warnings": [{"field": "privacy_level", "code": "privacy_unchecked", "message": "TikTok could not be asked."}],
}


def _first(status: str) -> Json:
    return {"status": [None, status], "caption": [None, "An idea"]}


_GRANTED = {"scopes": ["user.info.basic", "user.info.profile", "video.publish"]}
_BY_KEY: Mapping[str, Json] = {
    **dict.fromkeys((f"accounts.account.{past}.v1" for past in ("connected", "synced", "disconnected")), _GRANTED),
    "accounts.account.updated.v1": {**_GRANTED, "status": "inactive", "changes": {"status": ["active", "inactive"]}},
    "accounts.account.expired.v1": {**_GRANTED, "status": "expired", "reason": "refresh_token_refused"},
    "accounts.api_key.refused.v1": {"reason": "revoked"},
    "accounts.connect.failed.v1": {"reason": "authorization_denied"},
    "accounts.login.failed.v1": {"reason": "invalid_credentials"},
    "accounts.session.refresh_refused.v1": {"reason": "expired"},
    "accounts.sync.failed.v1": {"reason": "tiktok_unavailable"},
    "gateway.session.refused.v1": {"reason": "revoked"},
    "scheduler.post.cancelled.v1": {
        "status": "cancelled",
        "reason": "cancelled_by_user",
        "changes": {"status": ["scheduled", "cancelled"]},
    },
    "scheduler.post.drafted.v1": {"status": "draft", "scheduled_time": None, "changes": _first("draft")},
    "scheduler.post.due.v1": {"status": "due"},
    "scheduler.post.failed.v1": {"status": "failed"},
    "scheduler.post.held.v1": {"held": True, "reason": "account_paused"},
    "scheduler.post.published.v1": {"status": "published", "changes": {}},
    "scheduler.post.retry_scheduled.v1": {"status": "retry_scheduled", "changes": {}},
    "scheduler.post.scheduled.v1": {"changes": _first("scheduled")},
    "scheduler.post.unconfirmed.v1": {"status": "unconfirmed"},
}
_ABSENT = frozenset({"photo_urls", "source_url"})
_BY_TYPE: Mapping[str, Any] = {"string": "...", "integer": 1, "number": 1.0, "boolean": False, "array": [], "object": {}}


def data_example(key: str, kind: type[Event]) -> Json:
    """Return an example of an event's `data`; raises ValueError for a schema that it does not understand."""
    schema = kind.model_json_schema()
    return {**_object(schema, schema.get("$defs", {})), **_BY_KEY.get(key, {})}


def _object(schema: Json, known: Json) -> Json:
    return {name: _value(name, field, known) for name, field in schema["properties"].items() if name not in _ABSENT}


def _value(name: str, schema: Json, known: Json) -> Any:
    if "$ref" in schema:
        return _object(known[schema["$ref"].rpartition("/")[2]], known)
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return _value(name, choice, known)
    # Flags stay as they usually are.
    if schema.get("type") == "boolean":
        return schema.get("default", _BY_TYPE["boolean"])
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if name in _BY_NAME:
        return _BY_NAME[name]
    if "default" in schema:
        return schema["default"]
    if schema.get("type") not in _BY_TYPE or "format" in schema:
        raise ValueError(f"say in deploy/schemas/examples.py what {name} may look like")
    return _BY_TYPE[schema["type"]]
