"""The audit trail as files: JSON Lines, one item of the list a line, and CSV, one column a field."""

from collections.abc import Iterable

import orjson

from analytics.domain.file_formats import Format, Item, csv_rows, json_lines

COLUMNS = (
    *("id", "at", "actor_type", "actor_id", "action", "object_type", "object_id", "result", "reason", "ip", "user_agent"),
    *("correlation_id", "changes"),
)


def beginning(wanted: Format) -> bytes:
    """Return what stands before the first item."""
    return csv_rows([COLUMNS]) if wanted == "csv" else b""


def written(items: Iterable[Item], wanted: Format) -> bytes:
    """Return items as they stand in the file; `items` are as the list of the trail has them, `at` in UTC."""
    return csv_rows(map(_row, items)) if wanted == "csv" else json_lines(items)


def _row(item: Item) -> list[object]:
    flat = {
        **item,
        "actor_type": item["actor"]["type"],
        "actor_id": item["actor"]["id"],
        "changes": None if item["changes"] is None else orjson.dumps(item["changes"]).decode(),
    }
    return [flat[name] for name in COLUMNS]
