import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tiktok.errors import ScopeMissing, TikTokUnavailable, TokenInvalid
from tiktok.videos import VIDEO_FIELDS, VideoClient

TOKEN = SecretStr("act.canary")
OK = {"code": "ok", "message": "", "log_id": "L1"}


def client(answer: object, seen: list[httpx.Request] | None = None, status: int = 200) -> VideoClient:
    def respond(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return httpx.Response(status, content=content)

    return VideoClient(httpx.AsyncClient(transport=httpx.MockTransport(respond)), "https://api.test/")


async def test_a_page() -> None:
    seen: list[httpx.Request] = []
    video = {"id": "7602997070760331285", "create_time": 1_790_000_000, "view_count": 2**40, "title": "hi", "new": [1]}
    data = {"videos": [video], "cursor": 1_790_000_000_000, "has_more": True, "new": 1}
    page = await client({"data": data, "error": OK}, seen).list_videos(TOKEN, cursor=1_800_000_000_000, max_count=5)
    assert (page.cursor, page.has_more) == (1_790_000_000_000, True)
    (found,) = page.videos
    assert (found.id, found.view_count, found.share_url) == ("7602997070760331285", 2**40, None)
    assert seen[0].url.path == "/v2/video/list/"
    assert seen[0].url.params["fields"].split(",") == list(VIDEO_FIELDS)
    assert json.loads(seen[0].content) == {"max_count": 5, "cursor": 1_800_000_000_000}
    assert seen[0].headers["authorization"] == "Bearer act.canary"


async def test_ids_stay_exact_whatever_was_sent() -> None:
    raw = b'{"data":{"videos":[{"id":7602997070760331285}]},"error":{"code":"ok"}}'
    page = await client(raw).list_videos(TOKEN)
    assert page.videos[0].id == "7602997070760331285"
    for empty in (None, []):
        assert (await client({"data": {"videos": empty}, "error": OK}).list_videos(TOKEN)).videos == ()


async def test_a_query_asks_for_the_id_in_any_case() -> None:
    seen: list[httpx.Request] = []
    answer = {"data": {"videos": [{"id": "1", "cover_image_url": "https://cdn/?sig=canary"}]}, "error": OK}
    (video,) = await client(answer, seen).query_videos(TOKEN, ["1", "2"], fields=["view_count"])
    assert seen[0].url.params["fields"] == "id,view_count"
    assert json.loads(seen[0].content) == {"filters": {"video_ids": ["1", "2"]}}
    assert "canary" not in repr(video)


async def test_bounds_are_ours() -> None:
    for count in (0, 21):
        with pytest.raises(ValueError, match="20"):
            await client({}).list_videos(TOKEN, max_count=count)
    for ids in ([], ["1"] * 21):
        with pytest.raises(ValueError, match="20"):
            await client({}).query_videos(TOKEN, ids)


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        ({"data": {}, "error": {"code": "scope_not_authorized"}}, 401, ScopeMissing),
        ({"data": {}, "error": {"code": "access_token_invalid"}}, 200, TokenInvalid),
        ({"data": {"videos": [{"title": "no id"}]}, "error": OK}, 200, TikTokUnavailable),
        ({"data": {"videos": "all"}, "error": OK}, 200, TikTokUnavailable),
        (b"[" * 100_000, 200, TikTokUnavailable),
    ],
)
async def test_refusals(answer: Any, status: int, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        await client(answer, status=status).list_videos(TOKEN)
    assert "canary" not in repr(caught.value) + str(caught.value)
