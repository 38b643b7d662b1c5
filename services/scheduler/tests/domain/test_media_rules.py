"""TikTok's rules for videos at their limits."""

from dataclasses import replace

import pytest

from scheduler.domain.media_rules import MAX_BYTES, PhotoFacts, VideoFacts, check_photo, check_video

GOOD = VideoFacts("mp4", "h264", 15_000, 1080, 1920, 30.0)


@pytest.mark.parametrize(
    "facts",
    [
        GOOD,
        replace(GOOD, container="mov", video_codec="hevc"),
        replace(GOOD, container="webm", video_codec="vp9"),
        replace(GOOD, width=360, height=360, fps=23.0),
        replace(GOOD, width=4096, height=4096, fps=60.0),
        replace(GOOD, fps=23.976),
        replace(GOOD, duration_ms=600_000),
        replace(GOOD, duration_ms=1),
    ],
)
def test_allowed(facts: VideoFacts) -> None:
    assert check_video(facts, size_bytes=MAX_BYTES) == []


@pytest.mark.parametrize(
    ("facts", "code", "found", "allowed"),
    [
        (replace(GOOD, container="avi"), "container_not_allowed", "avi", "mp4, mov, webm"),
        (replace(GOOD, video_codec="mpeg4"), "codec_not_allowed", "mpeg4", "h264, hevc, vp8, vp9"),
        (replace(GOOD, width=359), "picture_too_small", "359 px", "360-4096 px"),
        (replace(GOOD, height=4097), "picture_too_large", "4097 px", "360-4096 px"),
        (replace(GOOD, fps=22.9), "frame_rate_not_allowed", "22.9 fps", "23-60 fps"),
        (replace(GOOD, fps=61.0), "frame_rate_not_allowed", "61 fps", "23-60 fps"),
        (replace(GOOD, fps=0.0), "frame_rate_not_allowed", "0 fps", "23-60 fps"),
        (replace(GOOD, duration_ms=0), "duration_unknown", "0 ms", "> 0 ms"),
        (replace(GOOD, duration_ms=600_001), "video_too_long", "600001 ms", "<= 600000 ms"),
        (replace(GOOD, whole=False), "file_truncated", "incomplete", "complete"),
    ],
)
def test_refused(facts: VideoFacts, code: str, found: str | None, allowed: str | None) -> None:
    (problem,) = check_video(facts, size_bytes=1)
    assert (problem.code, problem.found, problem.allowed) == (code, found, allowed)


def test_every_broken_rule_is_named() -> None:
    facts = VideoFacts("avi", "mpeg4", 0, 100, 5000, 10.0)
    assert [item.code for item in check_video(facts, size_bytes=MAX_BYTES + 1)] == [
        "container_not_allowed",
        "codec_not_allowed",
        "picture_too_small",
        "picture_too_large",
        "frame_rate_not_allowed",
        "duration_unknown",
        "file_too_large",
    ]


def test_a_photo_has_20_megabytes_of_a_million_bytes() -> None:
    """The stricter reading of TikTok's 20 MB, which is also the simulator's: what passes here passes there."""
    photo = PhotoFacts("jpeg", 1080, 1920)
    assert check_photo(photo, size_bytes=20_000_000) == []
    assert [item.code for item in check_photo(photo, size_bytes=20_000_001)] == ["file_too_large"]


def test_shown_without_empty_members() -> None:
    (problem,) = check_video(replace(GOOD, whole=False), size_bytes=1)
    assert problem.to_json() == {
        "field": "file",
        "code": "file_truncated",
        "message": "The file ends before the video does.",
        "found": "incomplete",
        "allowed": "complete",
    }
