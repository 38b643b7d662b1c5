"""Checks before the due time of posts that are no file posted directly: only what matters to them."""

from typing import Any

import pytest

pytestmark = pytest.mark.integration

PROBLEM = {"type": "about:blank", "detail": "TikTok says so.", "hint": "Wait.", "status": 409}
CAP = (409, {**PROBLEM, "code": "tiktok_spam_risk_too_many_posts"})
PHOTOS = {"media_id": None, "photo_urls": ["https://photos.example.com/1.jpg"]}
PULL = {"media_id": None, "source_url": "https://videos.example.com/a.mp4", "transfer": "pull"}


@pytest.mark.parametrize("media", [PHOTOS, PULL])
async def test_what_tiktok_fetches_is_in_order_without_a_file_of_ours(desk: Any, media: dict[str, Any]) -> None:
    post = await desk.post(**media)
    assert (await desk.check(), await desk.check()) == (1, 0)
    assert await desk.codes(post) == []


@pytest.mark.parametrize("media", [PHOTOS, PULL])
async def test_the_creator_s_options_matter_to_it(desk: Any, media: dict[str, Any]) -> None:
    post = await desk.post(**media)
    desk.creator_answer = desk.creator(privacy_level_options=["SELF_ONLY"], max_video_post_duration_sec=1)
    assert await desk.check() == 1
    assert await desk.codes(post) == ["privacy_not_available"]
    desk.creator_answer = CAP
    assert await desk.check() == 1
    assert await desk.codes(post) == ["tiktok_spam_risk_too_many_posts"]


@pytest.mark.parametrize("media", [{}, PHOTOS, PULL])
async def test_the_creator_s_options_do_not_matter_to_a_draft_for_the_inbox(desk: Any, media: dict[str, Any]) -> None:
    post = await desk.post(mode="inbox", privacy_level=None, caption="", title="", **media)
    desk.creator_answer = CAP
    assert (await desk.check(), await desk.check()) == (1, 0)
    assert await desk.codes(post) == []
    assert not [path for path in desk.asked if "creator-info" in path]


async def test_what_tiktok_ignores_stays_a_warning_without_an_event(desk: Any) -> None:
    """It was told when the post was made."""
    warning = {
        "field": "mode",
        "code": "ignored_in_inbox_mode",
        "message": "TikTok takes no such options for drafts: caption, privacy_level.",
        "hint": "Their creator sets these in the TikTok app.",
    }
    post = await desk.post(mode="inbox", warnings=[warning])
    await desk.check()
    assert (await desk.world.reload(post)).warnings == [warning]
    assert await desk.world.told() == []
