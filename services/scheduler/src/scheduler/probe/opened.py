"""Opening a video: as a file and nothing else, in the formats below; others go by their first bytes."""

from pathlib import Path
from typing import Any

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"
FOREIGN = {
    b"FLV\x01": "flv",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpeg",
    b"\x30\x26\xb2\x75": "wmv",
}


def foreign_container(path: Path) -> str | None:
    """Return the name of a format that is never opened, by the file's first bytes; None for anything else."""
    with path.open("rb") as file:
        head = file.read(12)
    return "avi" if head[:4] == b"RIFF" and head[8:] == b"AVI " else FOREIGN.get(head[:4])


def open_video(path: Path, **options: str) -> Any:
    """Return the PyAV container of the file, opened with these options of ffmpeg besides; raises what PyAV raises."""
    import av

    allowed = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    return av.open(str(path), mode="r", options={**allowed, **options}, metadata_errors="replace")
