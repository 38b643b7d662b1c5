"""Endings of addresses: what TikTok will refuse once it has fetched it is told at creation."""

from datetime import UTC, datetime

import pytest

from common.contracts.scheduler import PostFields
from scheduler.domain.address_endings import unlikely_formats
from scheduler.domain.post_content import PostInput
from scheduler.usecases.wanted_post import want_post

HOST = "https://files.example.com"


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("/a.jpg", None),
        ("/a.JPEG?x=.png", None),
        ("/a.webp#.png", None),
        ("/a", None),
        ("/a.png/", ".png"),
        ("/picture.php", None),
        ("/a.png.jpg", None),
        ("", None),
        ("/a.png", ".png"),
        ("/a.PNG?signature=1", ".png"),
        ("/a%2Epng", ".png"),
        ("/a.jpg.heic", ".heic"),
        ("/a.gif", ".gif"),
        ("/a.mp4", ".mp4"),
    ],
)
def test_photos(path: str, ending: str | None) -> None:
    found = unlikely_formats(PostInput(photo_urls=(f"{HOST}/b.jpg", HOST + path)))
    assert [(one.field, one.code) for one in found] == ([] if ending is None else [("photo_urls.1", "format_may_be_refused")])
    for one in found:
        assert one.message.endswith(f"ends in {ending}.")
        assert one.hint is not None
        assert "JPEG or WebP" in one.hint


@pytest.mark.parametrize(("path", "expected"), [("/a.mp4", 0), ("/a.mov", 0), ("/watch", 0), ("/a.mkv?x", 1), ("/a.jpg", 1)])
def test_videos(path: str, expected: int) -> None:
    found = unlikely_formats(PostInput(source_url=HOST + path))
    assert [(one.field, one.code) for one in found] == [("source_url", "format_may_be_refused")] * expected


def test_no_url_at_all_is_for_others_to_tell() -> None:
    assert unlikely_formats(PostInput(photo_urls=("https://[x.png",), source_url="https://[x.png")) == []


def test_a_post_carries_it_as_a_warning_beside_others_and_is_not_refused() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    fields = PostFields.model_validate(
        {
            "photo_urls": [f"{HOST}/a.png"],
            "mode": "inbox",
            "privacy_level": "SELF_ONLY",
            "scheduled_time": "2026-05-02T00:00:00Z",
        }
    )
    wanted = want_post(fields, now=now, allowed_hosts=frozenset())
    assert wanted.findings == ()
    assert [item.code for item in wanted.warnings] == ["ignored_in_inbox_mode", "format_may_be_refused"]
