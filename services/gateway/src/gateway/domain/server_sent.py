"""Server-sent events as text (WHATWG HTML, section 9.2)."""

import orjson

RETRY_MS = 2_000
"""What a client that follows the standard waits before it connects again."""

HEARTBEAT = b": still here\n\n"
"""A comment: clients ignore it, but a connection that is gone is noticed, and proxies do not take it for idle."""


def retry() -> bytes:
    """Return the line that tells clients when to come again."""
    return f"retry: {RETRY_MS}\n\n".encode()


def frame(name: str, data: object, *, event_id: str | None = None) -> bytes:
    """Return one event; `data` becomes one line of JSON. Without an id a client keeps the last one it had."""
    head = f"event: {name}\n" if event_id is None else f"id: {event_id}\nevent: {name}\n"
    return head.encode() + b"data: " + orjson.dumps(data) + b"\n\n"
