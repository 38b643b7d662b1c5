import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from tiktok.chunks import plan_chunks
from tiktok.errors import TikTokRefused, TikTokUnavailable
from tiktok.models import FileSource, PostInfo, PullSource
from tiktok.photos import PhotoMode, PhotoPost
from tiktok.posting import PostingClient

TOKEN = SecretStr("act.canary")
URL = "https://cdn.example.com/a.mp4?signature=canary"
PULL = {"source": "PULL_FROM_URL", "video_url": URL}


def posting(data: object, seen: list[httpx.Request], code: str = "ok", status: int = 200) -> PostingClient:
    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json={"data": data, "error": {"code": code, "message": "", "log_id": "L"}})

    return PostingClient(httpx.AsyncClient(transport=httpx.MockTransport(respond)), "https://api.test")


def photo(**changes: Any) -> PhotoPost:
    fields = {"mode": "DIRECT_POST", "images": ("https://a/1.jpg", "https://a/2.jpg"), "privacy_level": "SELF_ONLY"}
    return PhotoPost(**(fields | changes))


Call = Callable[[PostingClient], Awaitable[str]]
PULLS: dict[str, Call] = {
    "/v2/post/publish/video/init/": lambda c: c.init_video_pull(TOKEN, PostInfo(privacy_level="SELF_ONLY"), PullSource(URL)),
    "/v2/post/publish/inbox/video/init/": lambda c: c.init_inbox_pull(TOKEN, PullSource(URL)),
    "/v2/post/publish/content/init/": lambda c: c.init_photo(TOKEN, photo()),
}


@pytest.mark.parametrize("path", PULLS)
async def test_what_tiktok_fetches_has_a_publish_id_only(path: str) -> None:
    seen: list[httpx.Request] = []
    init = await PULLS[path](posting({"publish_id": "v_pub_url~v2.1", "more": 1}, seen))
    assert init.publish_id == "v_pub_url~v2.1"
    assert seen[0].url.path == path


@pytest.mark.parametrize("path", PULLS)
async def test_an_accepted_pull_that_tells_nothing_may_be_published(path: str) -> None:
    for data in ({}, None, {"publish_id": ""}, {"publish_id": 5}):
        with pytest.raises(TikTokUnavailable) as caught:
            await PULLS[path](posting(data, []))
        assert caught.value.sent


async def test_bodies_of_pulls() -> None:
    seen: list[httpx.Request] = []
    client = posting({"publish_id": "p"}, seen)
    await client.init_video_pull(TOKEN, PostInfo(privacy_level="SELF_ONLY", title="hi"), PullSource(URL))
    await client.init_inbox_pull(TOKEN, PullSource(URL))
    direct, draft = (json.loads(request.content) for request in seen)
    assert direct["source_info"] == PULL
    assert direct["post_info"]["title"] == "hi"
    assert draft == {"source_info": PULL}


async def test_a_draft_by_upload_has_no_post_info() -> None:
    seen: list[httpx.Request] = []
    data = {"publish_id": "v_inbox_file~v2.1", "upload_url": "https://up/?token=canary"}
    init = await posting(data, seen).init_inbox(TOKEN, FileSource(plan_chunks(1000)))
    assert (init.publish_id, init.upload_url) == ("v_inbox_file~v2.1", "https://up/?token=canary")
    assert list(json.loads(seen[0].content)) == ["source_info"]
    assert "canary" not in repr(init)
    with pytest.raises(TikTokUnavailable):
        await posting({"publish_id": "p"}, seen).init_inbox(TOKEN, FileSource(plan_chunks(1000)))


def test_a_direct_photo_post() -> None:
    body = photo(title="t", description="d #x", cover_index=1, is_aigc=True, auto_add_music=True).to_json()
    assert body == {
        "media_type": "PHOTO",
        "post_mode": "DIRECT_POST",
        "post_info": {
            "title": "t",
            "description": "d #x",
            "privacy_level": "SELF_ONLY",
            "disable_comment": False,
            "auto_add_music": True,
            "brand_content_toggle": False,
            "brand_organic_toggle": False,
        },
        "source_info": {
            "source": "PULL_FROM_URL",
            "photo_images": ["https://a/1.jpg", "https://a/2.jpg"],
            "photo_cover_index": 1,
        },
        "is_aigc": True,
    }


def test_a_photo_draft_takes_no_options() -> None:
    body = photo(mode=PhotoMode.MEDIA_UPLOAD, privacy_level=None, title="t").to_json()
    assert (body["post_mode"], body["post_info"]) == ("MEDIA_UPLOAD", {"title": "t"})


@pytest.mark.parametrize(
    "changes",
    [
        {"images": ()},
        {"images": ("https://a",) * 36},
        {"cover_index": 2},
        {"cover_index": -1},
        {"privacy_level": None},
        {"mode": "MEDIA_UPLOAD"},
        {"mode": "DIRECT POST"},
        {"disable_duet": True},
    ],
)
def test_photo_posts_that_make_no_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        photo(**changes)


async def test_cancelling() -> None:
    seen: list[httpx.Request] = []
    await posting(None, seen).cancel(TOKEN, "v_pub_url~v2.1")
    assert seen[0].url.path == "/v2/post/publish/cancel/"
    assert json.loads(seen[0].content) == {"publish_id": "v_pub_url~v2.1"}
    with pytest.raises(TikTokRefused) as caught:
        await posting(None, seen, "publish_not_cancellable", 400).cancel(TOKEN, "x")
    assert (caught.value.code, caught.value.retryable) == ("publish_not_cancellable", False)
    assert caught.value.hint


def test_a_signed_address_is_not_shown() -> None:
    assert "canary" not in repr(PullSource(URL))
