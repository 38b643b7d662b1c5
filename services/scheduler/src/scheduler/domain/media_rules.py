"""TikTok's rules for videos: every broken one by name, with what was found and what is allowed."""

from dataclasses import dataclass
from typing import Any

MIN_SIDE_PX, MAX_SIDE_PX = 360, 4096
MIN_FPS, MAX_FPS = 23.0, 60.0
FPS_TOLERANCE = 0.05
"""Files say 59.94 or 60.0024 for what cameras call 60."""
MAX_DURATION_MS = 10 * 60 * 1000
MAX_BYTES = 4 * 1024**3
CONTAINERS = ("mp4", "mov", "webm")
CODECS = ("h264", "hevc", "vp8", "vp9")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the probe found; `whole` is false when the file ends before its own index says."""

    container: str
    video_codec: str
    duration_ms: int
    width: int
    height: int
    fps: float
    whole: bool = True


@dataclass(frozen=True, slots=True)
class MediaProblem:
    """One broken rule with the found and the allowed value."""

    field: str
    code: str
    message: str
    found: str | None = None
    allowed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in `errors` and in `MediaRejected`."""
        shown = {
            "field": self.field,
            "code": self.code,
            "message": self.message,
            "found": self.found,
            "allowed": self.allowed,
        }
        return {name: value for name, value in shown.items() if value is not None}


def check_video(facts: VideoFacts, *, size_bytes: int) -> list[MediaProblem]:
    """Return every rule that a video breaks; empty means that TikTok takes it (the creator's own maximum duration aside)."""
    problems = [*_form(facts), *_picture(facts), *_length(facts)]
    if size_bytes > MAX_BYTES:
        problems.append(_problem("size_bytes", "file_too_large", "The file is too large.", f"{size_bytes}", f"<= {MAX_BYTES}"))
    return problems


def _form(facts: VideoFacts) -> list[MediaProblem]:
    problems = []
    if facts.container not in CONTAINERS:
        problems.append(
            _problem(
                "container", "container_not_allowed", "The file format is not allowed.", facts.container, ", ".join(CONTAINERS)
            )
        )
    if facts.video_codec not in CODECS:
        problems.append(
            _problem(
                "video_codec", "codec_not_allowed", "The video codec is not allowed.", facts.video_codec, ", ".join(CODECS)
            )
        )
    if not facts.whole:
        problems.append(_problem("file", "file_truncated", "The file ends before the video does.", None, None))
    return problems


def _picture(facts: VideoFacts) -> list[MediaProblem]:
    problems = []
    for side, pixels in (("width", facts.width), ("height", facts.height)):
        if not MIN_SIDE_PX <= pixels <= MAX_SIDE_PX:
            code = "picture_too_small" if pixels < MIN_SIDE_PX else "picture_too_large"
            problems.append(
                _problem(
                    side, code, f"The picture's {side} is not allowed.", f"{pixels} px", f"{MIN_SIDE_PX}-{MAX_SIDE_PX} px"
                )
            )
    if not MIN_FPS - FPS_TOLERANCE <= facts.fps <= MAX_FPS + FPS_TOLERANCE:
        problems.append(
            _problem(
                "fps",
                "frame_rate_not_allowed",
                "The frame rate is not allowed.",
                f"{facts.fps:g} fps",
                f"{MIN_FPS:g}-{MAX_FPS:g} fps",
            )
        )
    return problems


def _length(facts: VideoFacts) -> list[MediaProblem]:
    if facts.duration_ms <= 0:
        return [_problem("duration_ms", "duration_unknown", "The video has no duration.", f"{facts.duration_ms} ms", "> 0 ms")]
    if facts.duration_ms > MAX_DURATION_MS:
        return [
            _problem(
                "duration_ms",
                "video_too_long",
                "The video is too long.",
                f"{facts.duration_ms} ms",
                f"<= {MAX_DURATION_MS} ms",
            )
        ]
    return []


def _problem(field: str, code: str, message: str, found: str | None, allowed: str | None) -> MediaProblem:
    return MediaProblem(field, code, message, found, allowed)
