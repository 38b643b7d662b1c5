"""The committed documents: what they should be, what they are, and what the newest committed version that differs was."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from schemas.asyncapi import asyncapi
from schemas.catalogue import catalogue, message_schema
from schemas.markdown import events_page

Json = dict[str, Any]

ASYNCAPI = Path("docs/asyncapi.json")
PAGE = Path("docs/events.md")
SCHEMAS = Path("docs/schemas")
VERSIONS = 50
"""How many commits that touched the document are looked at."""


def wanted() -> dict[Path, str]:
    """Return every document by its path in the checkout."""
    schemas = {SCHEMAS / f"{event.key}.json": _written(message_schema(event)) for event in catalogue()}
    return {PAGE: events_page(), ASYNCAPI: _written(asyncapi()), **schemas}


def differences(root: Path) -> dict[Path, str | None]:
    """Return the documents that are not as they should be, each with its right text; None for one that should not be there."""
    documents = wanted()
    found: dict[Path, str | None] = {path: text for path, text in documents.items() if _text(root / path) != text}
    there = {path.relative_to(root) for path in (root / SCHEMAS).glob("*.json")}
    return {**found, **dict.fromkeys(there - documents.keys())}


def write(root: Path) -> list[Path]:
    """Bring the documents up to date; returns those that were not."""
    changed = differences(root)
    for path, text in changed.items():
        if text is None:
            (root / path).unlink()
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    return sorted(changed)


def version_before(root: Path) -> Json | None:
    """Return the newest committed AsyncAPI document that differs from the one in the checkout; None where there is none.

    With changes that are not committed yet that is the last commit's, in a clean checkout what the last change replaced.
    """
    present = _text(root / ASYNCAPI)
    commits = _git(root, "log", f"--max-count={VERSIONS}", "--format=%H", "--", str(ASYNCAPI)).split()
    for commit in commits:
        # The commit before each one that touched it: a commit that removed it has none itself.
        for version in (commit, f"{commit}~1"):
            text = _git(root, "show", f"{version}:{ASYNCAPI}")
            if text and text != present:
                document: Json = json.loads(text)
                return document
    return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout if done.returncode == 0 else ""


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _written(document: Json) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
