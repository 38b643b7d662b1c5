"""TikTok's checks of a photo after it was fetched: JPEG or WebP, at most 1080p either way up."""

from pathlib import Path

import av
import av.error

LONG_SIDE, SHORT_SIDE = 1920, 1080


def check_photo(path: Path) -> str | None:
    """Return TikTok's fail_reason, or None for a photo that it takes. Blocking; decodes the picture."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[:3] == b"\xff\xd8\xff":
        demuxer = "jpeg_pipe"
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        demuxer = "webp_pipe"
    else:
        return "file_format_check_failed"
    try:
        with av.open(str(path), format=demuxer) as container:
            frame = next(container.decode(video=0), None)
    except (av.error.FFmpegError, ValueError, OSError):
        return "file_format_check_failed"
    if frame is None:
        return "file_format_check_failed"
    sides = sorted((frame.width, frame.height))
    return None if sides[0] <= SHORT_SIDE and sides[1] <= LONG_SIDE else "picture_size_check_failed"
