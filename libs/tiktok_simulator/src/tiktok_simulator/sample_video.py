"""Real videos made on the spot, of any size in bytes: for tests and demonstrations."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import av.video

_BLOCK = 1024 * 1024
_PAD_HEADER = 16


def make_video(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 30,
    width: int = 360,
    height: int = 640,
    codec: str = "libx264",
    size: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a valid video (container by the file's suffix) and return ``path``.

    ``size`` in bytes pads an mp4 or mov with a ``free`` box, which players skip, to exactly that many; ``seed`` makes
    files of the same measures differ. Blocking. Raises ValueError when ``size`` is too small for the video.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        if not isinstance(stream, av.video.VideoStream):
            raise TypeError(f"{codec} is no video codec")
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for index in range(max(1, round(seconds * fps))):
            container.mux(stream.encode(_frame(width, height, index, seed)))
        container.mux(stream.encode())
    if size is not None:
        _pad(path, size, seed)
    return path


def _frame(width: int, height: int, index: int, seed: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, "yuv420p")
    for number, plane in enumerate(frame.planes):
        shade = (seed * 37 + number * 80 + index * 3) % 256
        plane.update(bytes([shade]) * plane.buffer_size)
    frame.pts = index
    return frame


def _pad(path: Path, size: int, seed: int) -> None:
    missing = size - path.stat().st_size
    if missing == 0:
        return
    if missing < _PAD_HEADER:
        raise ValueError(f"the video alone has {size - missing} bytes; {size} is too small")
    with path.open("ab") as file:
        file.write(struct.pack(">I4sQ", 1, b"free", missing))
        left = missing - _PAD_HEADER
        block = bytes((seed + step) % 251 for step in range(_BLOCK))
        while left:
            left -= file.write(block[:left])
