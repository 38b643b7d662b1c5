"""If-Match (RFC 9110, section 13.1.1): which versions of a thing a client is ready to change."""

import re

MAX_TAGS = 100
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


class MalformedIfMatch(ValueError):
    """The header is no `*` and no list of entity tags."""


def parse_if_match(header: str | None) -> list[str] | None:
    """Return the entity tags (without quotes) that may be changed, None when any may: no header, or `*`.

    Weak tags are left out: If-Match compares strongly, so they match nothing. Raises MalformedIfMatch.
    """
    if header is None or header.strip() == "*":
        return None
    parts = [part for part in (part.strip(" \t") for part in _split(header)) if part]
    found = [_TAG.fullmatch(part) for part in parts]
    if not found or len(found) > MAX_TAGS or any(match is None for match in found):
        raise MalformedIfMatch
    return [match[2] for match in found if match is not None and match[1] is None]


def _split(header: str) -> list[str]:
    """Split at the commas outside of quotes: a tag may hold one."""
    parts, inside = [""], False
    for character in header:
        inside ^= character == '"'
        if character == "," and not inside:
            parts.append("")
        else:
            parts[-1] += character
    return parts
