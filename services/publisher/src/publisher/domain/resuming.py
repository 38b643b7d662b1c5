"""Going on with a file after its connection broke: only with bytes of the very file whose first bytes are here already."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

OK, PARTIAL, RANGE_NOT_SATISFIABLE = 200, 206, 416

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_CLOCKS_APART = timedelta(seconds=1)


class Continuation(StrEnum):
    """What the answer to a request for the rest means."""

    GOES_ON = "goes_on"
    """These are the missing bytes of the same file."""
    START_OVER = "start_over"
    """The server gives the file as a whole only, or it has changed."""
    REFUSED = "refused"
    """An answer without bytes of the file; its status says why."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which file it is. `validator` names it for If-Range (None: nothing can); `total` is its size in bytes where announced."""

    validator: str | None
    etag: str | None
    total: int | None


def version_of(headers: Mapping[str, str], total: int | None) -> Version:
    """Return what an answer's headers (names in lower case) say of the file.

    Only a strong validator proves that two parts belong together (RFC 9110, 8.8 and 13.1.5): an ETag that is not weak, else a
    Last-Modified that is at least a second older than the answer.
    """
    etag = headers.get("etag")
    is_strong = etag is not None and etag.startswith('"') and etag.endswith('"') and len(etag) > 1
    if is_strong:
        return Version(etag, etag, total)
    modified = headers.get("last-modified")
    return Version(modified if _is_strong_date(modified, headers.get("date")) else None, etag, total)


def continuation(status: int, headers: Mapping[str, str], version: Version, offset: int) -> Continuation:
    """Return what an answer to a request for the bytes from `offset` on means."""
    if status == PARTIAL:
        return Continuation.GOES_ON if _is_the_rest(headers, version, offset) else Continuation.START_OVER
    return Continuation.START_OVER if status in {OK, RANGE_NOT_SATISFIABLE} else Continuation.REFUSED


def _is_the_rest(headers: Mapping[str, str], version: Version, offset: int) -> bool:
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None or int(match[1]) != offset:
        return False
    last, total = int(match[2]), None if match[3] == "*" else int(match[3])
    if total is not None and version.total is not None and total != version.total:
        return False
    # A part of the rest would end without having been broken off, and the file would be taken for whole.
    expected = total if total is not None else version.total
    if expected is not None and last != expected - 1:
        return False
    etag = headers.get("etag")
    return etag is None or version.etag is None or etag == version.etag


def _is_strong_date(modified: str | None, date: str | None) -> bool:
    changed, answered = _moment(modified), _moment(date)
    return changed is not None and answered is not None and answered - changed >= _CLOCKS_APART


def _moment(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text) if text is not None else None
    except (ValueError, TypeError, IndexError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed is not None and parsed.tzinfo is None else parsed
