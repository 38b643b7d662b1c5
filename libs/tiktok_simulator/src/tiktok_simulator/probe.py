"""TikTok's checks of a video after its upload: container, codec, duration, frame rate, picture size."""

from pathlib import Path

import av
import av.error
import av.video

FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})
CODECS = frozenset({"h264", "hevc", "vp8", "vp9"})
MIN_FPS, MAX_FPS = 23.0, 60.0
MIN_SIDE, MAX_SIDE = 360, 4096
MAX_SECONDS = 600
_FPS_TOLERANCE = 0.05


def check_video(path: Path, content_type: str | None, max_seconds: int) -> str | None:
    """Return TikTok's fail_reason, or None for a video that it takes. Blocking; decodes one frame.

    Without a content type (a fetched file) the container may be any of those allowed.
    """
    try:
        with av.open(str(path)) as container:
            return _check(container, content_type, min(max_seconds, MAX_SECONDS))
    except (av.error.FFmpegError, ValueError, OSError):
        return "file_format_check_failed"


def facts_of(path: Path) -> tuple[int, int, int]:
    """Return (seconds, width, height) of a video that passed. Blocking."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return max(1, round(_seconds(container, stream) or 1)), stream.width, stream.height


def _check(container: "av.container.InputContainer", content_type: str | None, max_seconds: int) -> str | None:
    names = set(container.format.name.split(","))
    as_announced = content_type is None or ("webm" in names) == (content_type == "video/webm")
    if names.isdisjoint(FORMATS) or not as_announced:
        return "file_format_check_failed"
    if not container.streams.video:
        return "file_format_check_failed"
    stream = container.streams.video[0]
    if stream.codec_context.name not in CODECS or next(container.decode(stream), None) is None:
        return "file_format_check_failed"
    seconds = _seconds(container, stream)
    if seconds is None or not 0 < seconds <= max_seconds:
        return "duration_check_failed"
    fps = float(stream.average_rate or 0)
    if not MIN_FPS - _FPS_TOLERANCE <= fps <= MAX_FPS + _FPS_TOLERANCE:
        return "frame_rate_check_failed"
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in (stream.width, stream.height)):
        return "picture_size_check_failed"
    return None


def _seconds(container: "av.container.InputContainer", stream: "av.video.VideoStream") -> float | None:
    if container.duration is not None:
        return container.duration / av.time_base
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None
