"""The Range header (RFC 9110, section 14) for one range of bytes."""

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE)


class RangeNotSatisfiable(ValueError):
    """The range lies wholly outside the object; the answer is 416."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` to `stop`, `stop` excluded."""

    start: int
    stop: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range asked for of an object of `size` bytes.

    None means the whole object: no header, another unit, several ranges or malformed ones, which a server may ignore.
    Raises `RangeNotSatisfiable` when a well-formed range has no byte of the object.
    """
    match = _SINGLE.fullmatch(header) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        stop = min(int(last) + 1, size) if last else size
    if start >= stop:
        raise RangeNotSatisfiable
    return ByteRange(start, stop)
