"""Server-sent events as text (WHATWG HTML, section 9.2)."""

from collections.abc import Iterable, Iterator

import orjson

RETRY_MS = 2_000
"""What a client that follows the standard waits before it connects again."""

HEARTBEAT = b": still here\n\n"
"""A comment: clients ignore it, but a connection that is gone is noticed, and proxies do not take it for idle."""

PIECE_BYTES = 64 * 1024
"""What is handed over at once: the most that a client has to take in the time after which it counts as stalled."""


def retry() -> bytes:
    """Return the line that tells clients when to come again."""
    return f"retry: {RETRY_MS}\n\n".encode()


def frame(name: str, data: object, *, event_id: str | None = None) -> bytes:
    """Return one event; `data` becomes one line of JSON. Without an id a client keeps the last one it had."""
    head = f"event: {name}\n" if event_id is None else f"id: {event_id}\nevent: {name}\n"
    return head.encode() + b"data: " + orjson.dumps(data) + b"\n\n"


def together(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Join whole frames to at most PIECE_BYTES each; one that is larger comes by itself."""
    held: list[bytes] = []
    size = 0
    for whole in frames:
        if held and size + len(whole) > PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
        held.append(whole)
        size += len(whole)
    if held:
        yield b"".join(held)


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut into pieces of at most PIECE_BYTES."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
