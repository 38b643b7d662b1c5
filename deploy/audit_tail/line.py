"""An event as one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

_STYLES = {
    "failed": "red",
    "rejected": "red",
    "expired": "red",
    "unconfirmed": "bold red",
    "deferred": "yellow",
    "held": "yellow",
    "retry_scheduled": "yellow",
    "cancelled": "yellow",
    "succeeded": "green",
    "published": "green",
    "ready": "green",
}
_KEY_WIDTH = 28
_NOT_SHOWN = frozenset({"again"})
_SHOWN_CHARS = 120


def line(event: dict[str, Any]) -> Text:
    """Return when, which event, about what, by whom, and the plain values of its data, without ids."""
    key = str(event["type"]).removeprefix("cuepost.")
    short = key.rsplit(".v", 1)[0]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(_local_time(str(event["time"])), style="dim")
    text.append(f"  {_printable(short):<{_KEY_WIDTH}}", style=_STYLES.get(short.rpartition(".")[2], "cyan"))
    text.append(f"  {_printable(event['subject'])}")
    text.append(f"  {_printable(event.get('actor') or event['source'])}", style="magenta")
    for name, value in event["data"].items():
        if _is_worth_showing(name, value):
            text.append(f"  {_printable(name)}=", style="dim")
            text.append(_printable(value if isinstance(value, str) else json.dumps(value)))
    return text


def _is_worth_showing(name: str, value: Any) -> bool:
    if name in _NOT_SHOWN or name.endswith("_id") or value in (None, "", False):
        return False
    return name == "changes" or isinstance(value, str | int | float)


def _local_time(written: str) -> str:
    try:
        return datetime.fromisoformat(written).astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError):
        return _printable(written)


def _printable(value: Any) -> str:
    """Return text without what would steer a terminal: captions come from strangers."""
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}\N{HORIZONTAL ELLIPSIS}"
