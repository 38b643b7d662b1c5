"""The ways of publishing besides a file posted directly: what is accepted, warned of, refused, and handed to the publisher."""

from typing import Any

import pytest

pytestmark = pytest.mark.integration


async def test_a_draft_for_the_inbox_needs_no_privacy_level(author: Any) -> None:
    post = await author.post(mode="inbox", privacy_level=None, caption="")
    assert (post["mode"], post["status"], post["warnings"]) == ("inbox", "scheduled", [])
    # Creator info is about direct posts: for a draft it is not even asked for.
    assert not [path for path in author.scheduler.neighbours.asked if "creator-info" in path]


async def test_what_tiktok_ignores_of_a_draft_is_a_warning(author: Any) -> None:
    post = await author.post(mode="inbox", caption="Hello", privacy_level="SELF_ONLY", brand_content_toggle=True)
    (warning,) = post["warnings"]
    assert (warning["field"], warning["code"]) == ("mode", "ignored_in_inbox_mode")
    assert "caption, privacy_level, brand_content_toggle" in warning["message"]


async def test_a_post_that_turns_from_a_draft_for_the_inbox_into_a_direct_one_needs_a_level(author: Any) -> None:
    post = await author.post(mode="inbox", privacy_level=None)
    refused = await author.change(post, mode="direct")
    assert (refused.status, refused.body["code"]) == (422, "privacy_required")
    changed = await author.change(post, mode="direct", privacy_level="SELF_ONLY")
    assert (changed.status, changed.body["warnings"]) == (200, [])


PHOTOS = ["https://photos.example.com/1.jpg", "https://photos.example.com/2.jpg?signature=s"]
NO_VIDEO: dict[str, Any] = {"media_id": None}


async def test_photos_with_all_their_options(author: Any) -> None:
    fields = {"photo_title": "Two", "photo_cover_index": 1, "auto_add_music": True, "is_aigc": True, "disable_comment": True}
    post = await author.post(**NO_VIDEO, photo_urls=PHOTOS, caption="x" * 4000, **fields)
    assert {name: post[name] for name in fields} == fields
    assert (post["photo_urls"], post["status"], post["warnings"]) == (PHOTOS, "scheduled", [])
    changed = await author.change(post, photo_cover_index=None, photo_title=None)
    assert (changed.body["photo_cover_index"], changed.body["photo_title"]) == (None, None)
    refused = await author.change(post, photo_urls=PHOTOS[:1], photo_cover_index=1)
    assert (refused.status, refused.body["code"]) == (422, "cover_beyond_end")
    back = await author.change(post, photo_urls=[], media_id=str(author.media_id), caption="short")
    assert (back.status, back.body["code"]) == (422, "only_for_photos")


async def test_a_draft_of_photos_keeps_its_texts(author: Any) -> None:
    post = await author.post(**NO_VIDEO, photo_urls=PHOTOS, mode="inbox", privacy_level=None, photo_title="Two")
    assert post["warnings"] == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"photo_title": "x" * 91}, "photo_title_too_long"),
        ({"caption": "x" * 4001}, "caption_too_long"),
        ({"photo_cover_index": 2}, "cover_beyond_end"),
        ({"disable_stitch": True}, "not_for_photos"),
        ({"photo_urls": ["https://8.8.8.8/a.jpg"]}, "source_url_not_allowed"),
        ({"privacy_level": "FOLLOWER_OF_CREATOR"}, "privacy_not_available"),
    ],
)
async def test_the_rules_of_photos(author: Any, fields: dict[str, Any], code: str) -> None:
    problem = await author.refused(code, 422, **{**NO_VIDEO, "photo_urls": PHOTOS, **fields})
    assert problem["hint"]


async def test_a_video_that_tiktok_fetches(author: Any) -> None:
    url = "https://videos.example.com/a.mp4?signature=s"
    post = await author.post(**NO_VIDEO, source_url=url, transfer="pull")
    assert (post["source_url"], post["transfer"], post["status"]) == (url, "pull", "scheduled")
    await author.refused("pull_needs_source_url", 422, transfer="pull")
    await author.refused("source_url_not_allowed", 422, **NO_VIDEO, source_url="http://videos.example.com/a", transfer="pull")
