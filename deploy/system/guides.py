"""What the pages of docs/ show: commands, and what is printed for them."""

import json
import re
from fnmatch import fnmatchcase
from typing import Any

from localstack.paths import CHECKOUT

DOCS = CHECKOUT / "docs"
_BLOCK = re.compile(r"```(sh|json|text)\n(.*?)```", re.DOTALL)
_SHORTENED = re.compile(r"```jsonc\n(.*?)```", re.DOTALL)


def examples(text: str) -> list[tuple[str, str]]:
    """Return each shell block with what is printed below it (nothing for a block that is followed by another)."""
    found: list[tuple[str, str]] = []
    for kind, body in _BLOCK.findall(text):
        if kind == "sh":
            found.append((body, ""))
        else:
            found[-1] = (found[-1][0], body)
    return found


def shortened(page: str) -> list[Any]:
    """Return the answers that a page shows in part, beside its examples."""
    return [json.loads(body) for body in _SHORTENED.findall((DOCS / page).read_text(encoding="utf-8"))]


def values(text: str) -> list[Any]:
    """Return what stands in a print-out, one after another: JSON values; a line that is none is text."""
    decoder, found, rest = json.JSONDecoder(), list[Any](), text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError:
            value, end = rest.partition("\n")[0], len(rest.partition("\n")[0])
        found.append(value)
        rest = rest[end:].strip()
    return found


def fits(printed: Any, wanted: Any) -> bool:
    """Whether a value is as the guide says; in its texts `...` stands for anything."""
    if isinstance(wanted, dict):
        return (
            isinstance(printed, dict)
            and printed.keys() == wanted.keys()
            and all(fits(printed[name], wanted[name]) for name in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(printed, list) and len(printed) == len(wanted) and all(map(fits, printed, wanted))
    if isinstance(wanted, str) and "..." in wanted:
        return isinstance(printed, str) and fnmatchcase(printed, wanted.replace("[", "[[]").replace("...", "*"))
    return type(printed) is type(wanted) and bool(printed == wanted)
