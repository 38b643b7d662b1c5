"""TikTok's rules for videos and photos: every broken one by name, with what was found and what is allowed."""

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

PHOTO_FORMATS = ("jpeg", "webp")
MAX_PHOTO_BYTES = 20_000_000
"""TikTok says 20 MB; of its two readings the stricter one, so that nothing passes here and fails there."""
MAX_PHOTO_LONG_PX, MAX_PHOTO_SHORT_PX = 1920, 1080
"""TikTok says 1080p; either way up."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the probe found; sizes as shown (rotated), `whole` is false when the file ends before its own index says."""

    container: str
    video_codec: str
    duration_ms: int
    width: int
    height: int
    fps: float
    whole: bool = True


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What the probe found of a picture; sizes as shown (after its EXIF orientation)."""

    container: str
    width: int
    height: int
    animated: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True)
class MediaProblem:
    """One broken rule with the found and the allowed value, and what to do about it."""

    field: str
    code: str
    message: str
    found: str | None = None
    allowed: str | None = None
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in `errors` and in `MediaRejected`."""
        shown = {
            "field": self.field,
            "code": self.code,
            "message": self.message,
            "found": self.found,
            "allowed": self.allowed,
            "hint": self.hint,
        }
        return {name: value for name, value in shown.items() if value is not None}


def check_media(facts: VideoFacts | PhotoFacts, *, size_bytes: int) -> list[MediaProblem]:
    """Return every rule that a file breaks; empty means that TikTok takes it (the creator's own maximum duration aside)."""
    return (check_photo if isinstance(facts, PhotoFacts) else check_video)(facts, size_bytes=size_bytes)  # type: ignore[arg-type]


def check_video(facts: VideoFacts, *, size_bytes: int) -> list[MediaProblem]:
    """Return every rule that a video breaks."""
    problems = [*_form(facts), *_picture(facts), *_length(facts), *_size(size_bytes, MAX_BYTES)]
    return [*problems, *_wholeness(facts.whole, "The file ends before the video does.")]


def check_photo(facts: PhotoFacts, *, size_bytes: int) -> list[MediaProblem]:
    """Return every rule that a photo breaks."""
    problems = []
    if facts.container not in PHOTO_FORMATS:
        problems.append(photo_format_not_allowed(facts.container))
    if facts.animated:
        problems.append(MediaProblem("file", "animation_not_allowed", "The picture is animated.", "animated", "one picture"))
    long_side = "width" if facts.width > facts.height else "height"
    for side, pixels in (("width", facts.width), ("height", facts.height)):
        square = facts.width == facts.height
        limit = MAX_PHOTO_LONG_PX if side == long_side and not square else MAX_PHOTO_SHORT_PX
        if not 1 <= pixels <= limit:
            code = "picture_too_small" if pixels < 1 else "picture_too_large"
            message = f"The photo's {side} is not allowed."
            problems.append(MediaProblem(side, code, message, f"{pixels} px", f"1-{limit} px", "Scale it to 1080p."))
    problems += _size(size_bytes, MAX_PHOTO_BYTES)
    return [*problems, *_wholeness(facts.whole, "The file ends before the picture does.")]


def photo_format_not_allowed(found: str) -> MediaProblem:
    """Return the problem of a picture in a format that TikTok refuses, PNG above all."""
    return MediaProblem(
        "container",
        "container_not_allowed",
        "The picture's format is not allowed.",
        found,
        ", ".join(PHOTO_FORMATS),
        "Save the picture as JPEG or WebP. A post takes photos from public addresses (photo_urls), not from the library.",
    )


def container_not_allowed(found: str) -> MediaProblem:
    """Return the problem of a video in a container that TikTok refuses."""
    return MediaProblem(
        "container",
        "container_not_allowed",
        "The file format is not allowed.",
        found,
        ", ".join(CONTAINERS),
        "Convert the video to MP4, MOV or WebM.",
    )


def _form(facts: VideoFacts) -> list[MediaProblem]:
    problems = []
    if facts.container not in CONTAINERS:
        problems.append(container_not_allowed(facts.container))
    if facts.video_codec not in CODECS:
        message = "The video codec is not allowed."
        problems.append(MediaProblem("video_codec", "codec_not_allowed", message, facts.video_codec, ", ".join(CODECS)))
    return problems


def _picture(facts: VideoFacts) -> list[MediaProblem]:
    problems = []
    for side, pixels in (("width", facts.width), ("height", facts.height)):
        if not MIN_SIDE_PX <= pixels <= MAX_SIDE_PX:
            code = "picture_too_small" if pixels < MIN_SIDE_PX else "picture_too_large"
            allowed = f"{MIN_SIDE_PX}-{MAX_SIDE_PX} px"
            problems.append(MediaProblem(side, code, f"The picture's {side} is not allowed.", f"{pixels} px", allowed))
    if not MIN_FPS - FPS_TOLERANCE <= facts.fps <= MAX_FPS + FPS_TOLERANCE:
        allowed = f"{MIN_FPS:g}-{MAX_FPS:g} fps"
        message = "The frame rate is not allowed."
        problems.append(MediaProblem("fps", "frame_rate_not_allowed", message, f"{facts.fps:g} fps", allowed))
    return problems


def _length(facts: VideoFacts) -> list[MediaProblem]:
    found = f"{facts.duration_ms} ms"
    if facts.duration_ms <= 0:
        return [MediaProblem("duration_ms", "duration_unknown", "The video has no duration.", found, "> 0 ms")]
    if facts.duration_ms > MAX_DURATION_MS:
        return [MediaProblem("duration_ms", "video_too_long", "The video is too long.", found, f"<= {MAX_DURATION_MS} ms")]
    return []


def _size(size_bytes: int, limit: int) -> list[MediaProblem]:
    if size_bytes <= limit:
        return []
    return [MediaProblem("size_bytes", "file_too_large", "The file is too large.", f"{size_bytes} bytes", f"<= {limit} bytes")]


def _wholeness(whole: bool, message: str) -> list[MediaProblem]:
    return [] if whole else [MediaProblem("file", "file_truncated", message, "incomplete", "complete")]
