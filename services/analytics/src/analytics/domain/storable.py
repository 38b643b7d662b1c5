"""Makes any JSON value fit for PostgreSQL, so that one odd event cannot refuse a whole batch.

JSON allows what PostgreSQL does not keep as text, the character U+0000, and numbers of any length. Python's reader adds NaN
and the infinities.
"""

import math
from typing import Any

import orjson

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_INTEGER = 2**63 - 1
_MAY_BE_NUL = b"\\u0000"


def storable_text(text: str) -> str:
    """Return `text` with U+0000 shown as U+FFFD."""
    return text.replace("\x00", REPLACEMENT)


def storable_json(value: dict[str, Any]) -> str:
    """Return an object as JSON text that PostgreSQL keeps, changed as `storable` says where it must be."""
    try:
        written = orjson.dumps(value)
    except TypeError:  # An integer beyond 64 bits.
        written = _MAY_BE_NUL
    if _MAY_BE_NUL in written:
        written = orjson.dumps(storable(value))
    return written.decode()


def storable(value: Any) -> Any:
    """Return a JSON value with every U+0000 shown as U+FFFD, integers beyond 64 bits as text, NaN and infinities as null."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= MAX_INTEGER else str(value)
        case str():
            return storable_text(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {storable_text(name): storable(item) for name, item in value.items()}
        case list():
            return [storable(item) for item in value]
        case _:
            return value
