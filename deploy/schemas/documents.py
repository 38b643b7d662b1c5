"""The committed documents: what they should be, what they are, and what readers were promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.asyncapi import asyncapi
from schemas.breaking import Promises
from schemas.catalogue import catalogue, message_schema
from schemas.fields import Field
from schemas.markdown import events_page

Json = dict[str, Any]

ASYNCAPI = Path("docs/asyncapi.json")
PAGE = Path("docs/events.md")
SCHEMAS = Path("docs/schemas")
PROMISED = Path("deploy/schemas/promised.json")
"""Each event's fields with their types; `?` behind them: it may be absent; `=`: the only values. Not written anew from the
contracts, but moved on."""


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


def promised(root: Path) -> Promises:
    """Return what readers were promised by what is committed; raises FileNotFoundError where nothing is."""
    events: dict[str, dict[str, str]] = json.loads((root / PROMISED).read_text(encoding="utf-8"))
    return {key: {path: _read(path, said) for path, said in fields.items()} for key, fields in events.items()}


def promise(root: Path, what: Promises) -> bool:
    """Write down what readers are promised from now on; returns whether that changed."""
    said = {key: {path: _said(field) for path, field in sorted(fields.items())} for key, fields in sorted(what.items())}
    text = _written(said)
    changed = _text(root / PROMISED) != text
    if changed:
        (root / PROMISED).parent.mkdir(parents=True, exist_ok=True)
        (root / PROMISED).write_text(text, encoding="utf-8")
    return changed


def _said(field: Field) -> str:
    types = " | ".join(sorted(field.types)) + ("" if field.required else "?")
    return f"{types} = {' | '.join(field.values)}" if field.values else types


def _read(path: str, said: str) -> Field:
    types, _, values = said.partition(" = ")
    return Field(
        path, frozenset(types.rstrip("?").split(" | ")), not types.endswith("?"), tuple(values.split(" | ")) if values else ()
    )


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _written(document: Json) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
