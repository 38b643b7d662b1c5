"""Photo posts: their texts, their cover, and which options go with which media."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler.domain.ignored_options import ignored_options
from scheduler.domain.post_content import PostInput
from scheduler.domain.post_rules import check_post

URL = "https://photos.example.com/a.jpg"
PHOTOS = PostInput(
    caption="hi",
    privacy_level="PUBLIC_TO_EVERYONE",
    photo_urls=(URL, URL),
    scheduled_time=datetime(2026, 5, 1, tzinfo=UTC),
)
VIDEO = replace(PHOTOS, photo_urls=(), has_media=True)
EMOJI = "\N{THUMBS UP SIGN}"


def codes(post: PostInput) -> list[tuple[str, str]]:
    return [(finding.field, finding.code) for finding in check_post(post)]


@pytest.mark.parametrize(
    "post",
    [
        PHOTOS,
        replace(PHOTOS, photo_title="x" * 90),
        replace(PHOTOS, photo_title=EMOJI * 45),
        replace(PHOTOS, caption="x" * 4000),
        replace(PHOTOS, caption="x" * 3997, hashtags=("a",)),
        replace(PHOTOS, photo_cover_index=0),
        replace(PHOTOS, photo_cover_index=1),
        replace(PHOTOS, photo_urls=(URL,) * 35, photo_cover_index=34),
        replace(PHOTOS, disable_comment=True, auto_add_music=True, is_aigc=True, brand_content_toggle=True),
        replace(PHOTOS, mode="inbox", privacy_level=None, photo_title="x"),
        replace(PHOTOS, transfer="pull"),
        PostInput(draft=True, photo_title="x", photo_cover_index=3, auto_add_music=True),
        PostInput(draft=True, photo_urls=(URL,)),
    ],
)
def test_good_photo_posts(post: PostInput) -> None:
    assert codes(post) == []


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"photo_title": "x" * 91}, "photo_title", "photo_title_too_long"),
        ({"photo_title": EMOJI * 45 + "x"}, "photo_title", "photo_title_too_long"),
        ({"photo_title": "a\x00"}, "photo_title", "invalid_characters"),
        ({"caption": "x" * 4001}, "caption", "caption_too_long"),
        ({"caption": EMOJI * 1999, "hashtags": ("a",)}, "caption", "caption_too_long"),
        ({"photo_cover_index": 2}, "photo_cover_index", "cover_beyond_end"),
        ({"disable_duet": True}, "disable_duet", "not_for_photos"),
        ({"disable_stitch": True}, "disable_stitch", "not_for_photos"),
        ({"cover_timestamp_ms": 0}, "cover_timestamp_ms", "not_for_photos"),
        ({"privacy_level": None}, "privacy_level", "privacy_required"),
        ({"privacy_level": "SELF_ONLY", "brand_content_toggle": True}, "privacy_level", "branded_content_must_be_public"),
        ({"has_media": True}, "photo_urls", "one_source_only"),
        ({"photo_urls": (URL, "http://photos.example.com/a.jpg")}, "photo_urls.1", "source_url_not_allowed"),
        ({"photo_urls": (URL, "")}, "photo_urls.1", "source_url_not_allowed"),
    ],
)
def test_each_rule_of_photos(changes: dict[str, Any], field: str, code: str) -> None:
    assert codes(replace(PHOTOS, **changes)) == [(field, code)]


@pytest.mark.parametrize("name", ["photo_title", "photo_cover_index", "auto_add_music"])
@pytest.mark.parametrize(
    "media", [{"has_media": True}, {"source_url": "https://videos.example.com/a.mp4", "transfer": "pull"}]
)
def test_options_of_photos_belong_to_photos(name: str, media: dict[str, Any]) -> None:
    value = {"photo_title": "x", "photo_cover_index": 0, "auto_add_music": True}[name]
    assert codes(replace(VIDEO, **{"has_media": False, **media, name: value})) == [(name, "only_for_photos")]


def test_a_draft_of_photos_keeps_its_texts_and_little_else() -> None:
    draft = replace(PHOTOS, mode="inbox", privacy_level=None, photo_title="x", hashtags=("a",), is_aigc=True)
    assert ignored_options(draft) == []
    (found,) = ignored_options(replace(draft, privacy_level="SELF_ONLY", disable_comment=True, auto_add_music=True))
    assert found.message.endswith("privacy_level, disable_comment, auto_add_music.")
