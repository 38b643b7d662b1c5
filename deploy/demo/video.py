"""A real video made on the spot: H.264 in MP4, larger than one upload chunk may be, different in every run."""

import hashlib
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

MIN_BYTES = 66_000_000
"""Above 64 MB a file must be sent in several chunks, and between 66 and 127 MB a naive chunk plan is refused."""
WIDTH, HEIGHT, FPS = 576, 1024, 30
SECONDS = 3
BIT_RATE = 130_000_000


@dataclass(frozen=True)
class Video:
    """A file with what the ledger must show of it."""

    path: Path
    size_bytes: int
    sha256: str


def make_video(path: Path, *, bit_rate: int = BIT_RATE, quantizer: int = 8, min_bytes: int = MIN_BYTES) -> Video:
    """Encode noise, which hardly compresses; `quantizer` is the worst allowed (0-51).

    Raises RuntimeError when the file has fewer than `min_bytes`.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = bit_rate
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": f"qpmax={quantizer}"}
        stream.time_base = Fraction(1, FPS)
        for number in range(FPS * SECONDS):
            container.mux(stream.encode(_noise(number)))
        container.mux(stream.encode(None))
    size = path.stat().st_size
    if size < min_bytes:
        raise RuntimeError(f"the video has only {size} bytes")
    with path.open("rb") as file:
        return Video(path, size, hashlib.file_digest(file, "sha256").hexdigest())


def _noise(number: int) -> av.VideoFrame:
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in frame.planes:
        plane.update(os.urandom(plane.buffer_size))
    frame.pts = number
    frame.time_base = Fraction(1, FPS)
    return frame
