"""Whether a video is all there: what TikTok would find out after the upload."""

from pathlib import Path
from typing import Any

from scheduler.probe.matroska import HEAD_BYTES, claimed_bytes
from scheduler.probe.opened import open_video


def is_whole(path: Path) -> bool:
    """Read every packet of the video and tell whether the file holds what its index says; raises what PyAV raises.

    False, too, for a file without video.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if claimed_bytes(file.read(HEAD_BYTES)) > size:
            return False
    # An edit list (what a lossless cut leaves) shows fewer pictures than the index counts.
    with open_video(path, ignore_editlist="1") as container:
        if not container.streams.video:
            return False
        stream = container.streams.video[0]
        pictures, pictures_end, end = 0, 0.0, 0.0
        for packet in container.demux():
            if not packet.size:
                continue
            if packet.is_corrupt:
                return False
            until = 0.0 if packet.pts is None else float((packet.pts + (packet.duration or 0)) * packet.time_base)
            end = max(end, until)
            if packet.stream.index == stream.index:
                pictures, pictures_end = pictures + 1, max(pictures_end, until)
        if any(_ends_beyond(sound, size) for sound in container.streams.audio):
            return False
        if stream.frames and stream.duration:
            claimed = float(stream.duration * stream.time_base)
        else:
            # WebM and fragments only say how long all of it lasts, and the sound may outlast the pictures.
            claimed, pictures_end = (container.duration or 0) / 1_000_000, end
        return pictures > 0 and pictures >= stream.frames and pictures_end >= claimed * 0.9 - 1.0


def _ends_beyond(sound: Any, size: int) -> bool:
    """Tell whether the last piece of a sound track, as the index has it, lies beyond the file's end."""
    # Where it lies, not how many there are: of uncompressed sound the index counts samples, which come many at a time.
    entries = sound.index_entries
    return len(entries) > 0 and entries[-1].pos + entries[-1].size > size
