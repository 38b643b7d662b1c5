"""Each rule of a post by its code, at the limit and one beyond."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.ignored_options import ignored_options
from scheduler.domain.post_content import PostInput
from scheduler.domain.post_rules import (
    check_media_options,
    check_post,
    check_privacy_options,
)

TIME = datetime(2026, 5, 1, tzinfo=UTC)
GOOD = PostInput(caption="hi", privacy_level="PUBLIC_TO_EVERYONE", has_media=True, scheduled_time=TIME)
URL = "https://videos.example.com/a.mp4"


def codes(post: PostInput, hosts: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    return [(finding.field, finding.code) for finding in check_post(post, allowed_hosts=hosts)]


@pytest.mark.parametrize(
    "post",
    [
        GOOD,
        replace(GOOD, has_media=False, source_url=URL),
        replace(GOOD, has_media=False, source_url=URL, transfer="pull"),
        replace(GOOD, has_media=False, photo_urls=(URL, URL)),
        replace(GOOD, mode="inbox", privacy_level=None),
        replace(GOOD, caption="x" * 2200),
        replace(GOOD, caption="👍" * 1100),
        replace(GOOD, privacy_level="SELF_ONLY"),
        replace(GOOD, brand_content_toggle=True),
        replace(GOOD, publish_before=TIME + timedelta(seconds=1)),
        PostInput(draft=True),
        replace(GOOD, draft=True, publish_before=TIME + timedelta(days=1)),
    ],
)
def test_good_posts(post: PostInput) -> None:
    assert codes(post) == []


@pytest.mark.parametrize(
    ("post", "field", "code"),
    [
        (replace(GOOD, has_media=False), "media_id", "source_required"),
        (replace(GOOD, source_url=URL), "source_url", "one_source_only"),
        (replace(GOOD, privacy_level=None), "privacy_level", "privacy_required"),
        (
            replace(GOOD, brand_content_toggle=True, privacy_level="SELF_ONLY"),
            "privacy_level",
            "branded_content_must_be_public",
        ),
        (replace(GOOD, caption="x" * 2201), "caption", "caption_too_long"),
        (replace(GOOD, caption="x" * 2198, hashtags=("a",)), "caption", "caption_too_long"),
        (replace(GOOD, caption="👍" * 1100, mentions=("a",)), "caption", "caption_too_long"),
        (replace(GOOD, caption="a\x00b"), "caption", "invalid_characters"),
        (replace(GOOD, caption="a\ud800b"), "caption", "invalid_characters"),
        (replace(GOOD, hashtags=("ok", "two words")), "hashtags.1", "invalid_hashtag"),
        (replace(GOOD, hashtags=("",)), "hashtags.0", "invalid_hashtag"),
        (replace(GOOD, hashtags=("#",)), "hashtags.0", "invalid_hashtag"),
        (replace(GOOD, hashtags=("##a",)), "hashtags.0", "invalid_hashtag"),
        (replace(GOOD, mentions=("x" * 101,)), "mentions.0", "invalid_mention"),
        (replace(GOOD, transfer="pull"), "transfer", "pull_needs_source_url"),
        (replace(GOOD, scheduled_time=None), "scheduled_time", "scheduled_time_required"),
        (replace(GOOD, publish_before=TIME), "publish_before", "publish_before_too_early"),
        (replace(GOOD, has_media=False, photo_urls=(URL, "http://x.example")), "photo_urls.1", "source_url_not_allowed"),
    ],
)
def test_broken_rules(post: PostInput, field: str, code: str) -> None:
    assert (field, code) in codes(post)


def test_a_draft_is_checked_for_what_it_has() -> None:
    draft = PostInput(draft=True, caption="x" * 2201, source_url="http://a.example")
    assert [code for _, code in codes(draft)] == ["caption_too_long", "source_url_not_allowed"]


@pytest.mark.parametrize(
    "url",
    [
        "http://videos.example.com/a.mp4",
        "ftp://videos.example.com/a",
        "https://",
        "https:///a",
        "https://user:pw@videos.example.com/a",
        "https://videos.example.com:8443/a",
        "https://videos.example.com:99999/a",
        "https://localhost/a",
        "https://nas.local/a",
        "https://intranet/a",
        "https://127.0.0.1/a",
        "https://10.1.2.3/a",
        "https://169.254.169.254/latest",
        "https://[::1]/a",
        "https://[fd00::1]/a",
        "https://2130706433/a",
        "https://127.1/a",
        "https://0x7f.1/a",
        "https://videos.example.com/a b",
        "https://videos.example.com/\n",
        "https://vidéos.example.com/a",
        "https://[bad/a",
        "https://videos.example.com/" + "x" * 2048,
    ],
)
def test_addresses_that_are_not_fetched(url: str) -> None:
    assert codes(replace(GOOD, has_media=False, source_url=url)) == [("source_url", "source_url_not_allowed")]


@pytest.mark.parametrize("url", [URL, "https://8.8.8.8/a", "https://videos.example.com:443/a?b=c#d"])
def test_public_addresses(url: str) -> None:
    assert codes(replace(GOOD, has_media=False, source_url=url)) == []


@pytest.mark.parametrize("url", ["https://8.8.8.8/a", "https://[2606:4700:4700::1111]/a"])
def test_tiktok_fetches_from_domains_only(url: str) -> None:
    by_us = replace(GOOD, has_media=False, source_url=url)
    assert codes(by_us) == []
    (found,) = check_post(replace(by_us, transfer="pull"))
    assert (found.field, found.code) == ("source_url", "source_url_not_allowed")
    assert "verified" in (found.hint or "")
    photos = replace(GOOD, has_media=False, photo_urls=(URL, url))
    assert codes(photos) == [("photo_urls.1", "source_url_not_allowed")]
    assert codes(replace(by_us, transfer="pull"), frozenset({"8.8.8.8", "2606:4700:4700::1111"})) == []


def test_exceptions_for_development() -> None:
    hosts = frozenset({"127.0.0.1:9000", "files.test"})
    for url in ("http://127.0.0.1:9000/a", "http://files.test/a", "https://files.test:444/a"):
        assert codes(replace(GOOD, has_media=False, source_url=url), hosts) == []
    assert codes(replace(GOOD, has_media=False, source_url="http://127.0.0.1:9001/a"), hosts) != []


def test_cover_within_the_video() -> None:
    assert check_media_options(cover_timestamp_ms=1000, duration_ms=1000) == []
    assert check_media_options(cover_timestamp_ms=None, duration_ms=1) == []
    assert check_media_options(cover_timestamp_ms=5, duration_ms=None) == []
    assert [item.code for item in check_media_options(cover_timestamp_ms=1001, duration_ms=1000)] == ["cover_beyond_end"]


def test_privacy_among_the_creators_options() -> None:
    assert check_privacy_options("SELF_ONLY", ["SELF_ONLY"]) is None
    assert check_privacy_options(None, []) is None
    found = check_privacy_options("PUBLIC_TO_EVERYONE", ["SELF_ONLY"])
    assert found is not None
    assert (found.code, found.hint) == ("privacy_not_available", "Available: SELF_ONLY.")
    none_left = check_privacy_options("SELF_ONLY", [])
    assert none_left is not None
    assert none_left.code == "privacy_not_available"


def test_inbox_mode_warns_of_what_tiktok_ignores() -> None:
    (found,) = ignored_options(replace(GOOD, mode="inbox", hashtags=("a",), is_aigc=True))
    assert (found.field, found.code) == ("mode", "ignored_in_inbox_mode")
    assert found.message.endswith("caption, hashtags, privacy_level, is_aigc.")
    assert ignored_options(PostInput(mode="inbox", has_media=True)) == []
    assert ignored_options(GOOD) == []
