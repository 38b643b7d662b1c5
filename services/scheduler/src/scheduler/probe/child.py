"""The child process: takes away its own rights, reads one file, prints what it found as JSON, and ends.

`python -I -m scheduler.probe.child PATH SECONDS MEMORY_BYTES`. Exit status 0 with one JSON object on stdout in every case that
the file itself causes; a crash, a kill by a limit or an exit status above 0 mean that the file could not be read.
"""

import ctypes
import json
import math
import resource
import sys
from contextlib import suppress
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"
CONTAINERS_BY_BRAND = {"qt": "mov"}
MAX_DECODED_PIXELS = 4096 * 4096


def give_up_rights(seconds: float, memory_bytes: int) -> None:
    """Limit processor time and memory, forbid core dumps and writing files, and leave the network where the system lets us."""
    cpu = max(1, math.ceil(seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Containers often forbid new namespaces; ffmpeg is told to open nothing but files besides.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET)


def look_into(path: str) -> dict[str, Any]:
    """Return the facts of the video file at `path`, or `{"error": code}` when it cannot be read as one."""
    import av

    av.logging.set_level(None)
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        with av.open(path, mode="r", options=options, metadata_errors="replace") as container:
            if not container.streams.video:
                return {"error": "no_video_stream"}
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            facts = _facts(container, stream)
            facts["whole"] = _is_whole(container, stream, facts)
            return facts
    except (av.FFmpegError, ValueError, MemoryError):
        return {"error": "file_unreadable"}


def _facts(container: Any, stream: Any) -> dict[str, Any]:
    rate = stream.average_rate or stream.guessed_rate or 0
    duration = float(container.duration) / 1_000_000 if container.duration else 0.0
    if not duration and stream.duration:
        duration = float(stream.duration * stream.time_base)
    return {
        "container": _container_name(container),
        "video_codec": stream.codec_context.name
        if stream.codec_context.codec is None
        else stream.codec_context.codec.canonical_name,
        "duration_ms": round(duration * 1000),
        "width": stream.codec_context.width,
        "height": stream.codec_context.height,
        "fps": round(float(rate), 3),
    }


def _container_name(container: Any) -> str:
    names = container.format.name.split(",")
    if "mov" in names:
        brand = container.metadata.get("major_brand", "").strip()
        return CONTAINERS_BY_BRAND.get(brand, "mp4")
    if "webm" in names:
        codecs = {stream.codec_context.name for stream in container.streams if stream.type in {"video", "audio"}}
        return (
            "webm"
            if codecs <= {"vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "opus", "libopus", "vorbis", "libvorbis"}
            else "matroska"
        )
    return str(names[0])


def _is_whole(container: Any, stream: Any, facts: dict[str, Any]) -> bool:
    """Read every packet of the video and decode the first picture: what TikTok would find out after the upload."""
    packets, last, decoded = 0, 0.0, facts["width"] * facts["height"] > MAX_DECODED_PIXELS
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_corrupt:
            return False
        packets += 1
        if packet.pts is not None:
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if not decoded:
            decoded = bool(packet.decode())
    if not decoded or not packets:
        return False
    if stream.frames and packets < stream.frames:
        return False
    shown = facts["duration_ms"] / 1000
    return bool(last >= shown * 0.9 - 1.0)


def main() -> None:
    """Run from the command line."""
    path, seconds, memory_bytes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    give_up_rights(seconds, memory_bytes)
    sys.stdout.write(json.dumps(look_into(path)))


if __name__ == "__main__":
    main()
