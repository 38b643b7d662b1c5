"""docs/events.md: every event with its fields, an example and its routing key."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from schemas.catalogue import EventType, catalogue, definitions, envelope_schema
from schemas.fields import Field, fields_of
from schemas.meanings import ENVELOPE, meaning

Json = dict[str, Any]

_HEAD = """# Events

Made by `make schemas` from `libs/common/src/common/contracts`; do not edit it. JSON Schemas of whole messages are in
[schemas/](schemas), one file per routing key; [asyncapi.json](asyncapi.json) describes the same as AsyncAPI 3.0. How to read them:
[operations.md](operations.md#watching-events); an example that loses and doubles nothing:
[deploy/examples/audit_consumer.py](../deploy/examples/audit_consumer.py). Programs with the same user can
put messages into each other's queues: one that does not trust the others needs a
[user of its own](operations.md#watching-events).

Every event is published to the topic exchange `cuepost.events` under its routing key, which is its `type` without `cuepost.`, and
durably. The body is a CloudEvents 1.0 JSON object (`application/cloudevents+json`).

- An event may arrive more than once, with the same `id`, and events arrive in any order. `sequence` tells the order of those with
  the same `source` and `subject`.
- Ignore fields that you do not know: some may be added at any time, and values to a list of values. Any other change is a new type,
  `.v2` beside `.v1`; `make test` compares with what was promised before.
- No event carries a password, a token or a key.

## The envelope
"""


def events_page() -> str:
    """Return the page; equal contracts give equal pages."""
    known = definitions("#/$defs/")
    events = catalogue()
    parts = [_HEAD, _table(fields_of(envelope_schema(), {}), ENVELOPE), "", "## Overview", "", *_overview(events)]
    for service, found in groupby(events, key=lambda event: event.service):
        parts += ["", f"## {service}"]
        for event in found:
            parts += ["", *_section(event, known)]
    return "\n".join(parts) + "\n"


def _overview(events: Iterable[EventType]) -> list[str]:
    rows = [f"| [`{event.key}`](#{_anchor(event.key)}) | {_summary(event)} |" for event in events]
    return ["| routing key | |", "|---|---|", *rows]


def _summary(event: EventType) -> str:
    first, dot, _ = event.description.partition(". ")
    return first + dot.strip()


def _anchor(key: str) -> str:
    return key.replace(".", "")


def _section(event: EventType, known: Json) -> list[str]:
    counted = f"; `sequence`: {event.sequence}" if event.sequence else ""
    return [
        f"### {event.key}",
        "",
        event.description,
        "",
        f"`subject`: {event.subject}{counted}. Schema: [{event.key}.json](schemas/{event.key}.json)",
        "",
        _table(fields_of(event.schema, known), None),
        "",
        "```json",
        json.dumps(event.example, indent=2, ensure_ascii=False),
        "```",
    ]


def _table(fields: Iterable[Field], meanings: dict[str, str] | None) -> str:
    by_path = {field.path: field for field in fields}
    # Items of a list are named with it.
    shown = [field for field in by_path.values() if not field.path.endswith(("[]", "{}"))]
    rows = [f"| `{field.path}` | {_type(field, by_path)} | {_meaning(field, meanings)} |" for field in shown]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows])


def _meaning(field: Field, meanings: dict[str, str] | None) -> str:
    said = meanings.get(field.path, "") if meanings is not None else meaning(field.path)
    return said if field.required else f"{said} (may be absent)".strip()


def _type(field: Field, by_path: dict[str, Field]) -> str:
    items = by_path.get(f"{field.path}[]")
    of = f"list of {_type(items, by_path)}" if items is not None else "list"
    named = [of if atom == "array" else _NAMES.get(atom, atom) for atom in sorted(field.types - {"null"})]
    text = " or ".join(f"`{value}`" for value in field.values) if field.values else " or ".join(named)
    return f"{text} or null" if "null" in field.types else text


_NAMES = {
    "string(uuid)": "id",
    "string(date-time)": "time",
    "string": "text",
    "number": "number",
    "integer": "integer",
    "boolean": "true or false",
    "object": "object",
    "any": "anything",
}
