"""Posts as CSV (RFC 4180): a header row with names of fields, then a post per row."""

import csv
import io
from collections.abc import Collection
from typing import Any

MAX_CELL_CHARS = 65_536
FLAGS = frozenset(
    {
        "disable_comment",
        "disable_duet",
        "disable_stitch",
        "brand_content_toggle",
        "brand_organic_toggle",
        "is_aigc",
        "auto_add_music",
        "draft",
        "allow_duplicate",
    }
)
NUMBERS = frozenset({"cover_timestamp_ms", "photo_cover_index"})
LISTS = frozenset({"hashtags", "mentions", "photo_urls"})
_BOOLEANS = {"true": True, "false": False}


class MalformedCsv(ValueError):
    """The text is no CSV of posts; `str(error)` is a sentence for people."""


def read_csv(body: bytes, *, columns: Collection[str], max_rows: int) -> list[dict[str, Any]]:
    """Return the rows as the JSON objects they stand for; empty cells are left out, empty lines skipped.

    Lists hold their items separated by spaces, flags are `true` or `false`. A cell that does not fit its column stays text, for the
    row's own check to name. Raises MalformedCsv for what is no UTF-8, a wrong header, a row with more cells than the header, or
    more than `max_rows` rows.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedCsv("The file must be UTF-8.") from None
    if "\x00" in text:
        raise MalformedCsv("The file must not contain the NUL character.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, columns)
        return _rows(reader, header, max_rows)
    except csv.Error as error:
        raise MalformedCsv(f"Line {reader.line_num} is not CSV: {error}.") from None


def _check_header(header: list[str], columns: Collection[str]) -> None:
    if not any(header):
        raise MalformedCsv("The first row must name the columns.")
    unknown = [name for name in header if name not in columns]
    if unknown:
        raise MalformedCsv(f"Unknown column: {unknown[0][:50] or '(without a name)'}.")
    if len(set(header)) < len(header):
        raise MalformedCsv("A column is named twice.")


def _rows(reader: Any, header: list[str], max_rows: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):
            raise MalformedCsv(f"Line {reader.line_num} has more cells than the header.")
        if len(rows) == max_rows:
            raise MalformedCsv(f"There are more than {max_rows} rows.")
        rows.append({name: _value(name, cell) for name, cell in zip(header, cells, strict=False) if cell.strip()})
    return rows


def _value(name: str, cell: str) -> Any:
    if name == "caption":
        return cell
    word = cell.strip()
    if name in LISTS:
        return word.split()
    if name in FLAGS:
        return _BOOLEANS.get(word.lower(), word)
    if name in NUMBERS and word.isascii() and word.isdecimal() and len(word) < 19:
        return int(word)
    return word
