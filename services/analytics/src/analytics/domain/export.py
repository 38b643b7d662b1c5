"""The audit trail as files: JSON Lines, one item of the list a line, and CSV, one column a field."""

import csv
from collections.abc import Callable, Iterable, Mapping
from io import StringIO
from typing import Any, Literal

import orjson

Format = Literal["jsonl", "csv"]
Item = Mapping[str, Any]

MEDIA_TYPES: dict[Format, str] = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8; header=present"}
COLUMNS = (
    *("id", "at", "actor_type", "actor_id", "action", "object_type", "object_id", "result", "reason", "ip", "user_agent"),
    *("correlation_id", "changes"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), full-width forms included."""


def beginning(wanted: Format) -> bytes:
    """Return what stands before the first item."""
    return _csv([COLUMNS]) if wanted == "csv" else b""


def written(items: Iterable[Item], wanted: Format) -> bytes:
    """Return items as they stand in the file; `items` are as the list of the trail has them, `at` in UTC."""
    return _WRITERS[wanted](items)


def _json_lines(items: Iterable[Item]) -> bytes:
    return b"".join(orjson.dumps(item, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE) for item in items)


def _csv_rows(items: Iterable[Item]) -> bytes:
    return _csv(_row(item) for item in items)


_WRITERS: dict[Format, Callable[[Iterable[Item]], bytes]] = {"jsonl": _json_lines, "csv": _csv_rows}


def _row(item: Item) -> list[str]:
    flat = {
        **item,
        "at": orjson.dumps(item["at"], option=orjson.OPT_UTC_Z).decode().strip('"'),
        "actor_type": item["actor"]["type"],
        "actor_id": item["actor"]["id"],
        "changes": None if item["changes"] is None else orjson.dumps(item["changes"]).decode(),
    }
    return [_cell(flat[name]) for name in COLUMNS]


def _cell(value: object) -> str:
    """Return a value as text that no spreadsheet runs: what looks like a formula gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    """Return rows as RFC 4180 says."""
    buffer = StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()
