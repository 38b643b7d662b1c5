"""Looking into a video, inside the child."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from scheduler.probe.opened import foreign_container, open_video
from scheduler.probe.thumbnail import make_thumbnail, orientation_of
from scheduler.probe.wholeness import is_whole

CONTAINERS_BY_BRAND = (("qt", "mov"), ("3g2", "3g2"), ("3g", "3gp"), ("mj", "mj2"))
"""How the major brand of a relative of MP4 begins, and its name; every other brand is MP4's."""
MP4_BRANDS = ("mp41", "mp42")
"""Of a file that says that it may be read as MP4, too, as some phones' do whose major brand is another."""
WEBM_CODECS = frozenset({"vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "opus", "libopus", "vorbis", "libvorbis"})
MAX_DECODED_PIXELS = 4096 * 4096
THUMBNAIL_AT_S = 1.0
"""Many videos begin black."""


def look_into_video(path: Path) -> tuple[dict[str, Any], bytes | None]:
    """Return the facts of a video and a thumbnail (None when no picture was decoded), or `{"error": code}` and None."""
    import av

    foreign = foreign_container(path)
    if foreign is not None:
        return {"error": "container_not_allowed", "found": foreign}, None
    try:
        whole = is_whole(path)
        with open_video(path) as container:
            if not container.streams.video:
                return {"error": "no_video_stream"}, None
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            facts = _facts(container, stream)
            facts["whole"], picture = whole, None
            # A picture beyond all limits is not decoded: it is refused anyway.
            if whole and facts["width"] * facts["height"] <= MAX_DECODED_PIXELS:
                picture = next(container.decode(stream), None)
                facts["whole"] = picture is not None
            return _turned(container, stream, facts, picture)
    except (av.FFmpegError, ValueError, MemoryError, OverflowError):
        return {"error": "file_unreadable"}, None


def _turned(container: Any, stream: Any, facts: dict[str, Any], picture: Any) -> tuple[dict[str, Any], bytes | None]:
    """Return facts and thumbnail as a player shows them: the display matrix turns what is stored."""
    import av

    if picture is None or not facts["whole"]:
        return facts, None
    orientation = orientation_of(picture.rotation)
    if orientation >= 5:
        facts["width"], facts["height"] = facts["height"], facts["width"]
    with suppress(av.FFmpegError):
        picture = _picture_at(container, stream, facts) or picture
    return facts, make_thumbnail(picture, orientation)


def _picture_at(container: Any, stream: Any, facts: dict[str, Any]) -> Any:
    """Return the key picture at or before a moment that is likely to show something."""
    seconds = min(THUMBNAIL_AT_S, facts["duration_ms"] / 2000)
    container.seek(int(seconds * 1_000_000), backward=True)
    return next(container.decode(stream), None)


def _facts(container: Any, stream: Any) -> dict[str, Any]:
    rate = stream.average_rate or stream.guessed_rate or 0
    duration = float(container.duration) / 1_000_000 if container.duration else 0.0
    if not duration and stream.duration:
        duration = float(stream.duration * stream.time_base)
    codec = stream.codec_context.codec
    return {
        "kind": "video",
        "container": _container_name(container),
        "video_codec": stream.codec_context.name if codec is None else codec.canonical_name,
        "duration_ms": round(duration * 1000),
        "width": stream.codec_context.width,
        "height": stream.codec_context.height,
        "fps": round(float(rate), 3),
    }


def _container_name(container: Any) -> str:
    names = container.format.name.split(",")
    if "mov" in names:
        brand, others = (container.metadata.get(name, "").strip() for name in ("major_brand", "compatible_brands"))
        if any(mp4 in others for mp4 in MP4_BRANDS):
            return "mp4"
        return next((name for begin, name in CONTAINERS_BY_BRAND if brand.startswith(begin)), "mp4")
    if "webm" in names:
        codecs = {stream.codec_context.name for stream in container.streams if stream.type in {"video", "audio"}}
        return "webm" if codecs <= WEBM_CODECS else "matroska"
    return str(names[0])
