"""Real pictures made on the spot: for tests and demonstrations."""

import io

import av
import av.video

_ENCODERS = {"jpeg": ("mjpeg", "yuvj420p"), "webp": ("libwebp", "yuv420p"), "png": ("png", "rgb24")}


def make_photo(kind: str = "jpeg", *, width: int = 360, height: int = 640, seed: int = 0) -> bytes:
    """Return a picture (``jpeg``, ``webp`` or ``png``); ``seed`` makes pictures of the same measures differ. Blocking."""
    encoder, pixels = _ENCODERS[kind]
    target = io.BytesIO()
    with av.open(target, "w", format="image2pipe") as container:
        stream = container.add_stream(encoder, rate=1)
        if not isinstance(stream, av.video.VideoStream):
            raise TypeError(f"{encoder} is no picture codec")
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        frame = av.VideoFrame(width, height, "yuv420p")
        for number, plane in enumerate(frame.planes):
            plane.update(bytes([(seed * 37 + number * 80) % 256]) * plane.buffer_size)
        container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())
    return target.getvalue()
