"""The secrets of a stack and of TikTok's stand-in, and what the stack has written, for the scan that ends a test run."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from common.auth.keys import b64url_decode
from common.testing.secret_scan import SecretScan
from localstack.stack import Stack
from system.written import Written

PUBLIC_NAMES = {"public", "tiktok_client_key"}
"""The client key stands in every authorize address."""


def made_secrets(made: Mapping[str, Any], name: str = "stack") -> Iterator[tuple[str, str | bytes]]:
    """Yield the stack's own passwords and keys by name, those that are base64 also as what they stand for."""
    for key, value in made.items():
        if isinstance(value, Mapping):
            yield from made_secrets(value, f"{name}.{key}")
        elif key not in PUBLIC_NAMES:
            yield f"{name}.{key}", value
            with suppress(ValueError):
                if len(raw := b64url_decode(value)) == 32:
                    yield f"{name}.{key}, its bytes", raw


def given_secrets(stack: Stack) -> Iterator[tuple[str, str]]:
    """Yield every token and code that TikTok's stand-in has ever given."""
    with tempfile.TemporaryDirectory() as folder:
        for file in stack.paths.simulator.glob("state.sqlite*"):
            if file.is_file():
                shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / "state.sqlite")) as database:
            rows = database.execute("SELECT name, body FROM rows WHERE name IN ('codes', 'access_tokens', 'refresh_tokens')")
            given = [(name, json.loads(body)) for name, body in rows]
    for number, (name, body) in enumerate(given):
        yield f"TikTok's {name} {number}", body.get("token") or body["code"]


def note(stack: Stack, scan: SecretScan) -> None:
    """Tell the scan of a run what a stack, which still runs, knows and has written."""
    for name, secret in (*made_secrets(stack.secrets), *given_secrets(stack)):
        scan.ledger.add(name, secret)
    written = Written(stack)
    for path in written.logs():
        scan.file(path)
    for rows in written.databases().values():
        scan.rows([rows.decode("utf-8", "replace")])
    scan.message(written.dead_letters())
