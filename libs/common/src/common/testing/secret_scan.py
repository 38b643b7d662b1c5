"""At the end of a test run, whatever part of the tests it was: nothing it wrote holds a secret that took part in it.

Looked at are the log lines of every test and of the programs it spawned, the rows of every database (as each test left them), every
message this process published (events, commands, replies, dead letters), and the dead letters that others left.
"""

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import aiormq
import pytest

from common.testing.secret_ledger import SecretLedger

LOGS, ROWS, MESSAGES = "logs", "database rows", "messages"
SHOWN = 20


class SecretScan:
    """What was written, place by place, and which secrets took part."""

    def __init__(self) -> None:
        self.ledger = SecretLedger()
        self._folder = tempfile.TemporaryDirectory(prefix="cuepost-written-", ignore_cleanup_errors=True)
        self._programs = 0
        self._seen: set[str] = set()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to note secrets and published messages; the monkeypatch ends it."""
        self.ledger.install(monkeypatch)
        publish = aiormq.Channel.basic_publish

        @wraps(publish)
        async def publishing(channel: aiormq.Channel, body: bytes, **arguments: Any) -> Any:
            properties = arguments.get("properties")
            self.message(body, getattr(properties, "headers", None))
            return await publish(channel, body, **arguments)

        monkeypatch.setattr(aiormq.Channel, "basic_publish", publishing)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Note nothing meanwhile: for tests that leak on purpose."""
        self.ledger.listening = False
        try:
            yield
        finally:
            self.ledger.listening = True

    def log(self, text: str) -> None:
        """Note what a test logged."""
        self._write(LOGS, text.encode("utf-8", "replace"))

    def log_file(self, label: str) -> Path:
        """Return a new file for the log of a spawned program, which is looked at too."""
        self._programs += 1
        return Path(self._folder.name) / f"program {self._programs} {label}"

    def file(self, path: Path) -> None:
        """Note a log that somebody else wrote."""
        shutil.copyfile(path, self.log_file(path.name))

    def rows(self, rows: Iterable[str]) -> None:
        """Note rows of a database, as JSON."""
        self._write(ROWS, "\n".join(rows).encode("utf-8", "replace"))

    def message(self, body: bytes, headers: Any = None) -> None:
        """Note a message; its headers may hold the reason of a failure."""
        told = b"" if not headers else json.dumps(headers, default=str).encode()
        self._write(MESSAGES, bytes(body) + b"\n" + told)

    def findings(self) -> list[str]:
        """Return, one line each, which secrets stand where; empty when none does."""
        found = self.ledger.canaries().in_files(sorted(Path(self._folder.name).iterdir()))
        return [f"{name} stands in the {path.name}" for path in sorted(found) for name in sorted(found[path])]

    def verdict(self) -> list[str]:
        """Return why the run fails: secrets that were found, or a place in which this scan would find none."""
        planted = secrets.token_urlsafe(24)
        self.ledger.add("planted", planted)
        blind = set(self._seen)
        if LOGS in blind:
            self.log(f"GET /callback?code={planted}")
        if ROWS in blind:
            self.rows([json.dumps({"sealed": "\\x" + planted.encode().hex()})])
        if MESSAGES in blind:
            self.message(b"{}", {"x-error": f"refused {planted}"})
        found = []
        for line in self.findings():
            if line.startswith("planted"):
                blind -= {place for place in blind if line.endswith(f"the {place}")}
            else:
                found.append(line)
        return found + [f"the scan is blind: it does not find a planted secret in the {place}" for place in sorted(blind)]

    def close(self) -> None:
        """Remove what was noted."""
        self._folder.cleanup()

    def _write(self, place: str, content: bytes) -> None:
        if not self.ledger.listening or not content.strip():
            return
        self._seen.add(place)
        with (Path(self._folder.name) / place).open("ab") as file:
            file.write(content + b"\n")


def of_report(report: pytest.TestReport) -> str:
    """Return what pytest captured of a test's phase: log records and what went to stdout and stderr."""
    return "\n".join(text for title, text in report.sections if title.startswith("Captured"))
