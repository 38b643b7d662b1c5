"""A small upright JPEG of one decoded picture."""

from fractions import Fraction
from typing import Any

LONGEST_PX = 640
_QUALITY = {"qmin": "3", "qmax": "6"}
_UPRIGHT = {
    1: (),
    2: (("hflip", ""),),
    3: (("hflip", ""), ("vflip", "")),
    4: (("vflip", ""),),
    5: (("transpose", "cclock_flip"),),
    6: (("transpose", "clock"),),
    7: (("transpose", "clock_flip"),),
    8: (("transpose", "cclock"),),
}
"""What turns a picture with an EXIF orientation upright."""


def orientation_of(rotation: int) -> int:
    """Return the EXIF orientation of a video's rotation (degrees counter-clockwise, as its display matrix says)."""
    return {90: 8, 180: 3, 270: 6}.get(rotation % 360, 1)


def make_thumbnail(frame: Any, orientation: int) -> bytes:
    """Return a JPEG of `frame`, at most 640 pixels on its longer side; raises what PyAV raises."""
    import av

    scale = min(1.0, LONGEST_PX / max(frame.width, frame.height))
    width, height = (max(2, round(side * scale) // 2 * 2) for side in (frame.width, frame.height))
    # Subtitles of colour spaces aside, 4:2:0 in full range is what every viewer of JPEG reads.
    small = frame.reformat(width=width, height=height, format="yuvj420p")
    small = _upright(small, orientation)
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = small.width, small.height, "yuvj420p"
    encoder.time_base, encoder.options = Fraction(1, 1), _QUALITY
    encoder.thread_count = 1
    small.pts, small.time_base = 0, Fraction(1, 1)
    return b"".join(bytes(packet) for packet in (*encoder.encode(small), *encoder.encode(None)))


def _upright(frame: Any, orientation: int) -> Any:
    steps = _UPRIGHT[orientation]
    if not steps:
        return frame
    from av.filter import Graph

    graph = Graph()
    graph.threads = 1
    frame.time_base = Fraction(1, 1)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1))
    nodes = [source, *(graph.add(name, value) if value else graph.add(name) for name, value in steps), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    return graph.pull()
