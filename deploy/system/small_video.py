"""A small real video for tests in which size does not matter."""

from pathlib import Path

from demo.video import Video, make_video


def make_small_video(path: Path) -> Video:
    """Encode three seconds of moving noise at a low bit rate: a few megabytes, one chunk."""
    return make_video(path, bit_rate=4_000_000, quantizer=51, min_bytes=100_000)
