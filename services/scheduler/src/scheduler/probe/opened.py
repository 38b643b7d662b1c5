"""Opening a video: as a file and nothing else, in the formats below."""

from pathlib import Path
from typing import Any

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"


def open_video(path: Path, **options: str) -> Any:
    """Return the PyAV container of the file, opened with these options of ffmpeg besides; raises what PyAV raises."""
    import av

    allowed = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    return av.open(str(path), mode="r", options={**allowed, **options}, metadata_errors="replace")
