"""Looking into a photo, inside the child: the header first, the decoder only when the picture may be posted anyway."""

from pathlib import Path
from typing import Any

from scheduler.domain.media_rules import MAX_PHOTO_BYTES, MAX_PHOTO_LONG_PX
from scheduler.probe.photo_header import PhotoHeader, Unreadable, read_header
from scheduler.probe.thumbnail import make_thumbnail

DEMUXERS = {"jpeg": "jpeg_pipe", "webp": "webp_pipe"}
FOREIGN = {b"\x89PNG": "png", b"GIF8": "gif"}
HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}


def picture_format(head: bytes) -> str | None:
    """Return the name of the picture format that a file's first bytes show, None for anything else."""
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS | AVIF_BRANDS:
        return "avif" if head[8:12] in AVIF_BRANDS else "heic"
    return FOREIGN.get(head[:4])


def look_into_photo(path: Path, kind: str) -> tuple[dict[str, Any], bytes | None]:
    """Return the facts of a picture of this format and its thumbnail, or `{"error": code}` and None."""
    if kind not in DEMUXERS:
        return {"error": "photo_format_not_allowed", "found": kind}, None
    with path.open("rb") as file:
        content = file.read(MAX_PHOTO_BYTES + 1)
    try:
        header = read_header(content)
    except Unreadable:
        return {"error": "photo_unreadable"}, None
    width, height = header.shown_size
    facts: dict[str, Any] = {
        "kind": "photo",
        "container": kind,
        "width": width,
        "height": height,
        "animated": header.animated,
        # What is too large is refused for its size; how it ends was not read.
        "whole": header.whole or len(content) > MAX_PHOTO_BYTES,
    }
    if header.animated or not facts["whole"] or max(width, height) > MAX_PHOTO_LONG_PX or min(width, height) < 1:
        return facts, None
    return _decode(path, kind, header, facts)


def _decode(path: Path, kind: str, header: PhotoHeader, facts: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    import av

    try:
        with av.open(str(path), format=DEMUXERS[kind], options={"protocol_whitelist": "file"}) as container:
            container.streams.video[0].codec_context.thread_count = 1
            frame = next(container.decode(video=0), None)
            if frame is None or (frame.width, frame.height) != (header.width, header.height):
                return {"error": "photo_unreadable"}, None
            return facts, make_thumbnail(frame, header.orientation)
    except (av.FFmpegError, ValueError, MemoryError, StopIteration):
        return {"error": "photo_unreadable"}, None
