"""W3C Trace Context: the `traceparent` that what one request causes has in common, in every service and message.

`00-<trace id>-<parent id>-<flags>`, lower-case hex. Cuepost records no spans of its own, so it passes on what it was given, the
parent id too: whatever hears of the trace below Cuepost hangs below whoever called it.
"""

import re
import secrets
from collections.abc import Sequence

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_FORBIDDEN_VERSION, _OUR_VERSION = "ff", "00"
_NOT_RECORDED = "00"


def new_traceparent() -> str:
    """Return the beginning of a trace that nobody records yet."""
    return f"{_OUR_VERSION}-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{_NOT_RECORDED}"


def accepted_traceparent(headers: Sequence[str]) -> str:
    """Return the caller's traceparent, as version 00, when exactly one well-formed one was sent; else a new one.

    A later version may have more at its end, which is left out, as the recommendation asks of who does not know it.
    """
    parts = _parts(headers[0].strip(" \t")) if len(headers) == 1 else None
    return new_traceparent() if parts is None else "-".join((_OUR_VERSION, *parts))


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the id of the trace; None without a well-formed traceparent."""
    parts = _parts(traceparent) if traceparent is not None else None
    return None if parts is None else parts[0]


def _parts(text: str) -> tuple[str, str, str] | None:
    """Return trace id, parent id and flags of a valid traceparent."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == _FORBIDDEN_VERSION or (version == _OUR_VERSION and more is not None):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return trace_id, parent_id, flags
