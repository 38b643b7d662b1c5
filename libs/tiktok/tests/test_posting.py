import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from tiktok.chunks import plan_chunks
from tiktok.display import UserClient, user_fields
from tiktok.errors import (
    ScopeMissing,
    TikTokError,
    TikTokRateLimited,
    TikTokRefused,
    TikTokUnavailable,
    TokenInvalid,
)
from tiktok.models import FileSource, PostInfo, PublishState, PublishStatus
from tiktok.posting import PostingClient

TOKEN = SecretStr("act.canary")
Respond = Callable[[httpx.Request], httpx.Response]


def envelope(data: Any = None, code: str = "ok", message: str = "") -> dict[str, Any]:
    return {"data": data, "error": {"code": code, "message": message, "log_id": "L42"}, "more": 1}


def http_of(respond: Respond) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(respond))


def posting(answer: object, status: int = 200, headers: dict[str, str] | None = None) -> PostingClient:
    return PostingClient(http_of(lambda _: httpx.Response(status, json=answer, headers=headers)), "https://api.test")


async def test_creator_info() -> None:
    data = {
        "creator_username": "ann",
        "creator_nickname": "Ann",
        "privacy_level_options": ["SELF_ONLY", "SOMETHING_NEW"],
        "comment_disabled": True,
        "max_video_post_duration_sec": 300,
        "unknown": [],
    }
    info = await posting(envelope(data)).creator_info(TOKEN)
    assert info.privacy_level_options == ("SELF_ONLY", "SOMETHING_NEW")
    assert info.comment_disabled
    assert info.max_video_post_duration_sec == 300


async def test_refusal_inside_http_200() -> None:
    with pytest.raises(TikTokRefused) as caught:
        await posting(envelope(None, "spam_risk_too_many_posts", "capped")).creator_info(TOKEN)
    error = caught.value
    assert (error.code, error.http_status, error.log_id, error.message) == (
        "spam_risk_too_many_posts",
        200,
        "L42",
        "capped",
    )
    assert error.kind == "deferred"
    assert error.retryable


async def test_init_sends_the_plan() -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(
            200, json=envelope({"publish_id": "v_pub_file~v2-1.1", "upload_url": "https://u/?upload_token=t"})
        )

    client = PostingClient(http_of(respond), "https://api.test/")
    init = await client.init_video(
        TOKEN, PostInfo(privacy_level="SELF_ONLY", title="päris 🎬"), FileSource(plan_chunks(66_000_000))
    )
    assert init.publish_id == "v_pub_file~v2-1.1"
    assert init.upload_url == "https://u/?upload_token=t"
    assert "upload_token" not in repr(init)
    request = seen[0]
    assert str(request.url) == "https://api.test/v2/post/publish/video/init/"
    assert request.headers["authorization"] == "Bearer act.canary"
    assert request.headers["content-type"] == "application/json; charset=UTF-8"
    body = json.loads(request.content)
    assert body["source_info"] == {
        "source": "FILE_UPLOAD",
        "video_size": 66_000_000,
        "chunk_size": 10_000_000,
        "total_chunk_count": 6,
    }
    assert body["post_info"]["title"] == "päris 🎬"
    assert "video_cover_timestamp_ms" not in body["post_info"]


def test_post_info_knows_its_fields() -> None:
    with pytest.raises(ValidationError):
        PostInfo.model_validate({"privacy_level": "SELF_ONLY", "titel": "x"})


@pytest.mark.parametrize("data", [{"publish_id": "v"}, {"upload_url": "https://u"}, None, {"publish_id": 1}])
async def test_an_accepted_init_that_tells_nothing_may_exist(data: object) -> None:
    with pytest.raises(TikTokUnavailable) as caught:
        await posting(envelope(data)).init_video(TOKEN, PostInfo(privacy_level="SELF_ONLY"), FileSource(plan_chunks(1)))
    assert caught.value.sent


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("[7602997070760331285]", ("7602997070760331285",)),
        ('["7602997070760331285", "7"]', ("7602997070760331285", "7")),
        ("7602997070760331285", ("7602997070760331285",)),
        ('"7602997070760331285"', ("7602997070760331285",)),
        ("7602997070760331285.0", ("7602997070760331285",)),
        ("[]", ()),
        ("null", ()),
        ('[0, "", null, true, {}]', ()),
    ],
)
async def test_post_ids_of_any_shape_stay_exact(raw: str, expected: tuple[str, ...]) -> None:
    content = (
        f'{{"data":{{"status":"PUBLISH_COMPLETE","publicaly_available_post_id":{raw},'
        '"uploaded_bytes":9007199254740993},"error":{"code":"ok","message":"","log_id":""}}'
    )
    client = PostingClient(http_of(lambda _: httpx.Response(200, content=content)), "https://api.test")
    status = await client.status(TOKEN, "v_pub_file~v2-1.1")
    assert status.post_ids == expected
    assert status.uploaded_bytes == 9007199254740993
    assert status.complete
    assert not status.failed


async def test_states() -> None:
    failed = await posting(envelope({"status": "FAILED", "fail_reason": "frame_rate_check_failed"})).status(TOKEN, "x")
    assert failed.log_id == "L42"
    assert failed.failed
    assert failed.fail_reason == "frame_rate_check_failed"
    moving = await posting(envelope({"status": "BRAND_NEW", "fail_reason": ""})).status(TOKEN, "x")
    assert not moving.failed
    assert not moving.complete
    assert moving.fail_reason is None
    assert PublishStatus(status=PublishState.PROCESSING_UPLOAD).post_ids == ()


async def test_answers_without_their_substance() -> None:
    for call in (posting(envelope({})).status(TOKEN, "x"), posting(envelope({})).creator_info(TOKEN)):
        with pytest.raises(TikTokUnavailable, match="malformed_answer"):
            await call


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "access_token_invalid", TokenInvalid),
        (200, "access_token_invalid", TokenInvalid),
        (401, "brand_new_code", TokenInvalid),
        (401, "ok", TokenInvalid),
        (401, "scope_not_authorized", ScopeMissing),
        (429, "rate_limit_exceeded", TikTokRateLimited),
        (200, "rate_limit_exceeded", TikTokRateLimited),
        (403, "privacy_level_option_mismatch", TikTokRefused),
        (400, "invalid_params", TikTokRefused),
        (400, "internal_trouble_made_up", TikTokRefused),
        (500, "internal_error", TikTokUnavailable),
        (200, "internal_error", TikTokUnavailable),
        (503, "ok", TikTokUnavailable),
        (404, "ok", TikTokRefused),
    ],
)
async def test_the_tree(status: int, code: str, expected: type[TikTokError]) -> None:
    with pytest.raises(TikTokError) as caught:
        await posting(envelope(None, code), status).status(TOKEN, "x")
    assert type(caught.value) is expected
    assert "canary" not in str(caught.value) + repr(caught.value)
    assert caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (b"", 401, ("access_token_invalid", None)),
        (b"<html>sign in</html>", 401, ("access_token_invalid", None)),
        (b'{"message":"no"}', 401, ("access_token_invalid", None)),
        (b'{"error":"access_token_invalid","error_description":"gone","log_id":"L1"}', 400, ("access_token_invalid", "L1")),
        (b'{"error":"invalid_token","log_id":"L1"}', 401, ("access_token_invalid", "L1")),
        (b'{"error":"scope_not_authorized","logid":"L1"}', 401, ("scope_not_authorized", "L1")),
        (b'{"error":"invalid_params","error_description":"no title"}', 200, ("invalid_params", None)),
        (b'{"error":"ok"}', 200, ("malformed_answer", None)),
    ],
)
async def test_refusals_without_the_envelope(content: bytes, status: int, expected: tuple[str, str | None]) -> None:
    client = PostingClient(http_of(lambda _: httpx.Response(status, content=content)), "https://api.test")
    with pytest.raises(TikTokError) as caught:
        await client.status(TOKEN, "x")
    assert (caught.value.code, caught.value.log_id) == expected
    assert isinstance(caught.value, TokenInvalid) == (expected[0] == "access_token_invalid")
    if isinstance(caught.value, TokenInvalid):
        assert caught.value.told == (b"access_token_invalid" in content)


async def test_rate_limit_wait() -> None:
    for header, expected in (({"retry-after": "7"}, 7.0), ({"retry-after": "Thu"}, 60.0), ({}, 60.0)):
        with pytest.raises(TikTokRateLimited) as caught:
            await posting(envelope(None, "rate_limit_exceeded"), 429, header).status(TOKEN, "x")
        assert caught.value.retry_after == expected
        assert caught.value.kind == "deferred"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"<html>gateway</html>", 502, "http_502"),
        (b"", 200, "malformed_answer"),
        (b"[]", 200, "malformed_answer"),
        (b'{"data":{}}', 200, "malformed_answer"),
        (b"\xff", 200, "malformed_answer"),
    ],
)
async def test_unreadable_answers_are_no_verdict(content: bytes, status: int, code: str) -> None:
    client = PostingClient(http_of(lambda _: httpx.Response(status, content=content)), "https://api.test")
    with pytest.raises(TikTokUnavailable) as caught:
        await client.status(TOKEN, "x")
    assert (caught.value.code, caught.value.sent) == (code, True)


async def test_user_info_asks_for_what_the_scopes_cover() -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=envelope({"user": {"open_id": "o", "follower_count": 3, "new": 1}}))

    client = UserClient(http_of(respond), "https://api.test")
    user = await client.user_info(TOKEN, ["user.info.stats", "video.publish"])
    assert (user.open_id, user.follower_count, user.username) == ("o", 3, None)
    assert seen[0].url.params["fields"] == "follower_count,following_count,likes_count,video_count"
    await client.user_info(TOKEN, [])
    assert seen[1].url.params["fields"] == "open_id"
    assert "username" in user_fields(["user.info.basic", "user.info.profile"])


async def test_user_info_without_user() -> None:
    client = UserClient(http_of(lambda _: httpx.Response(200, json=envelope({}))), "https://api.test")
    with pytest.raises(TikTokUnavailable):
        await client.user_info(TOKEN, ["user.info.basic"])
