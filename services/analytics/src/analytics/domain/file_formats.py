"""Files that programs and spreadsheets read: JSON Lines, one item a line, and CSV, one item a row."""

import csv
from collections.abc import Iterable, Mapping
from datetime import datetime
from io import StringIO
from typing import Any, Literal

import orjson

Format = Literal["jsonl", "csv"]
Item = Mapping[str, Any]

CSV_TYPE = "text/csv; charset=utf-8; header=present"
MEDIA_TYPES: dict[Format, str] = {"jsonl": "application/jsonl", "csv": CSV_TYPE}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), full-width forms included."""


def json_lines(items: Iterable[Item]) -> bytes:
    """Return items as lines of JSON; times are RFC 3339 in UTC."""
    return b"".join(orjson.dumps(item, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE) for item in items)


def csv_rows(rows: Iterable[Iterable[object]]) -> bytes:
    """Return rows as RFC 4180 says; times are as in JSON, null is an empty cell."""
    buffer = StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(map(_cell, row) for row in rows)
    return buffer.getvalue().encode()


def _cell(value: object) -> str:
    """Return a value as text that no spreadsheet runs: text that looks like a formula gets an apostrophe before it."""
    match value:
        case None:
            return ""
        case datetime():
            return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode().strip('"')
        case int() | float():
            return str(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
