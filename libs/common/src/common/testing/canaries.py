"""Known secrets, and whether any of them stands somewhere, in the clear or lightly dressed up."""

import base64
import json
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

LEAST_CHARS = 8
"""Anything shorter turns up by chance."""
_BLOCK = 8
"""Bytes that are looked up at once, as one number."""
_AT_ONCE = 1_000_000 * _BLOCK
_SURE_TO_HOLD_A_BLOCK = 2 * _BLOCK - 1


class Canaries:
    """Secrets by name, and the ways in which they would be written: plain, base64, hex, URL-encoded, escaped in JSON."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._short: list[bytes] = []
        self._by_block: defaultdict[int, list[bytes]] = defaultdict(list)

    def __len__(self) -> int:
        return len(set(self._names.values()))

    def add(self, name: str, secret: str | bytes) -> None:
        """Know a secret from now on. Raises ValueError for one that is too short to be told from chance."""
        raw = secret if isinstance(secret, bytes) else secret.encode()
        if len(raw) < LEAST_CHARS:
            raise ValueError(f"the canary {name} is too short")
        for form, written in forms(raw):
            if len(written) >= LEAST_CHARS and written not in self._names:
                self._names[written] = f"{name} ({form})"
                self._index(written)

    def in_files(self, paths: Iterable[Path]) -> dict[Path, set[str]]:
        """Return, for each file that holds some, the names of the secrets that stand there, each with the form it has."""
        found = ((path, self.in_bytes(path.read_bytes())) for path in paths)
        return {path: names for path, names in found if names}

    def in_bytes(self, content: bytes) -> set[str]:
        """Return the names of the secrets that stand in `content`, each with the form it has there."""
        return {self._names[written] for written in self._suspects(content) if written in content}

    def _index(self, written: bytes) -> None:
        """Note the last blocks of a pattern, one for each way in which it may lie over the blocks of a content.

        Its end is the part that differs from other secrets of its kind.
        """
        if len(written) < _SURE_TO_HOLD_A_BLOCK:
            self._short.append(written)
            return
        for start in range(len(written) - _SURE_TO_HOLD_A_BLOCK, len(written) - _BLOCK + 1):
            self._by_block[int.from_bytes(written[start : start + _BLOCK], sys.byteorder)].append(written)

    def _suspects(self, content: bytes) -> set[bytes]:
        """Return the patterns that may stand in `content`: those that are short, or of which one of its blocks is a part.

        Thousands of patterns over many megabytes in a second: a content is cut into blocks, and only every eighth byte begins one.
        """
        known: set[int] = set()
        for start in range(0, len(content) - _BLOCK + 1, _AT_ONCE):
            part = content[start : start + _AT_ONCE]
            known |= self._by_block.keys() & array("Q", part[: len(part) // _BLOCK * _BLOCK])
        return {*self._short, *(written for block in known for written in self._by_block[block])}


def forms(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the ways in which a secret may be written, each with its name."""
    yield "clear", raw
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    yield from (("base64", part) for part in _base64_parts(raw))
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    yield from (("URL-encoded", text.encode()) for text in quoted | {_lower_escapes(text) for text in quoted})
    text = raw.decode("utf-8", "replace")
    for ascii_only in (True, False):
        yield "JSON", json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


def _base64_parts(raw: bytes) -> Iterator[bytes]:
    """Yield what of a secret is the same in the base64 of anything that holds it: it may begin at any of three places."""
    for shift, spoilt in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(shift) + raw)
        whole = 8 * (shift + len(raw)) // 6
        part = encoded[spoilt:whole]
        yield part
        yield part.replace(b"+", b"-").replace(b"/", b"_")


def _lower_escapes(text: str) -> str:
    parts = text.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])
