"""Known secrets, and whether any of them stands somewhere, in the clear or lightly dressed up."""

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

LEAST_CHARS = 8
"""Anything shorter turns up by chance."""
_SCAN_SECONDS = 120
_GREP = ("grep", "--text", "--only-matching", "--fixed-strings", "--with-filename", "--null")


class Canaries:
    """Secrets by name, and the ways in which they would be written: plain, base64, hex, URL-encoded, escaped in JSON."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(set(self._names.values()))

    def add(self, name: str, secret: str | bytes) -> None:
        """Know a secret from now on. Raises ValueError for one that is too short to be told from chance."""
        raw = secret if isinstance(secret, bytes) else secret.encode()
        if len(raw) < LEAST_CHARS:
            raise ValueError(f"the canary {name} is too short")
        for form, written in forms(raw):
            # One pattern per line: what holds a line break is found by its other forms.
            if len(written) >= LEAST_CHARS and b"\n" not in written:
                self._names.setdefault(written, f"{name} ({form})")

    def in_files(self, paths: Iterable[Path]) -> dict[Path, set[str]]:
        """Return, for each file that holds some, the names of the secrets that stand there, each with the form it has."""
        files = [str(path) for path in paths]
        if not files:
            return {}
        with tempfile.NamedTemporaryFile(suffix=".canaries") as patterns:
            patterns.write(b"\n".join(self._names))
            patterns.flush()
            # Fixed strings, all at once: thousands of patterns over many megabytes in a second or two.
            found = subprocess.run(  # noqa: S603 - a fixed command
                [*_GREP, f"--file={patterns.name}", "--", *files],
                capture_output=True,
                timeout=_SCAN_SECONDS,
                env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/local/bin"},
                check=False,
            )
        if found.returncode > 1:
            raise RuntimeError(f"grep failed: {found.stderr.decode(errors='replace')}")
        stands: dict[Path, set[str]] = {}
        for line in filter(None, set(found.stdout.split(b"\n"))):
            path, _, written = line.partition(b"\0")
            stands.setdefault(Path(path.decode()), set()).add(self._names[written])
        return stands

    def in_bytes(self, content: bytes) -> set[str]:
        """Return the names of the secrets that stand in `content`, each with the form it has there."""
        with tempfile.NamedTemporaryFile(suffix=".scanned") as file:
            file.write(content)
            file.flush()
            return self.in_files([Path(file.name)]).get(Path(file.name), set())


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
