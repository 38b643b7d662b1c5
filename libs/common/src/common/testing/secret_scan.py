"""At the end of a test run, whatever part of the tests it was: nothing it wrote holds a secret that took part in it.

Looked at are the log lines of every test and of the programs it spawned, the rows of every database (as each test left them), every
message this process published (events, commands, replies, dead letters; by the client library or by frames of our own), and the
dead letters that others left.
"""

import asyncio
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiormq import Channel, Connection
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from common.messaging.wire.frames import Publication, publish_frames
from common.messaging.wire.link import Session
from common.testing.secret_ledger import SecretLedger
from common.testing.sent_messages import listen_to_sent

LOGS, ROWS, MESSAGES = "logs", "database rows", "messages"
SHOWN = 20


class SecretScan:
    """What was written, place by place, and which secrets took part."""

    def __init__(self) -> None:
        self.ledger = SecretLedger()
        self._folder = tempfile.TemporaryDirectory(prefix="cuepost-written-", ignore_cleanup_errors=True)
        self._programs = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to note secrets and published messages; the monkeypatch ends it."""
        self.ledger.install(monkeypatch)
        listen_to_sent(monkeypatch, lambda published: self._write(MESSAGES, published))

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
        """Return why the run fails: secrets that were found, or a way to be written on which this scan would find none.

        To be called while it is installed: what is planted goes the way of what the run wrote.
        """
        ways = {
            LOGS: lambda secret: self.log(f"GET /callback?code={secret}"),
            ROWS: lambda secret: self.rows([json.dumps({"sealed": "\\x" + secret.encode().hex()})]),
            "dead letters": lambda secret: self.message(b"{}", {"x-error": f"refused {secret}"}),
            "messages in frames of our own": _write_frames,
            "messages that the library sends": _have_library_write,
        }
        for way, write in ways.items():
            planted = secrets.token_urlsafe(24)
            self.ledger.add(f"planted in the {way}", planted)
            write(planted)
        found = self.findings()
        blind = [way for way in ways if not any(line.startswith(f"planted in the {way} (") for line in found)]
        leaks = [line for line in found if not line.startswith("planted in the ")]
        return leaks + [f"the scan is blind: it does not find a planted secret in the {way}" for way in blind]

    def close(self) -> None:
        """Remove what was noted."""
        self._folder.cleanup()

    def _write(self, place: str, content: bytes) -> None:
        if not self.ledger.listening or not content.strip():
            return
        with (Path(self._folder.name) / place).open("ab") as file:
            file.write(content + b"\n")


def _write_frames(secret: str) -> None:
    """Publish as relays do, to nobody: what `Session.write` queues is read by no connection."""
    connection = SimpleNamespace(write_queue=asyncio.Queue())
    session = Session(cast("Connection", connection), cast("Channel", None))
    asyncio.run(session.write(publish_frames(1, Publication("", "nobody", secret.encode()), len(secret))))


def _have_library_write(secret: str) -> None:
    """Make what the client library queues when it publishes."""
    body = secret.encode()
    ChannelFrame.marshall(1, [Basic.Publish(routing_key="nobody"), ContentHeader(body_size=len(body)), ContentBody(body)])


def of_report(report: pytest.TestReport) -> str:
    """Return what pytest captured of a test's phase: log records and what went to stdout and stderr."""
    return "\n".join(text for title, text in report.sections if title.startswith("Captured"))
