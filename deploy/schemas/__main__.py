"""`python -m schemas [KEY ...]`: write the documents; tell what changed, and what of it breaks consumers (then it ends with 1).

A break stays one, here and in the tests, until it is decided on: then its event's KEY (or `envelope`) is named, or `all`. Without
what was promised (`promised.json`) nothing can be compared, so nothing is written but with `all` (it ends with 2).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.asyncapi import asyncapi
from schemas.breaking import breaking_changes, moved_on, promises
from schemas.documents import PROMISED, promise, promised, write

ALL = "all"
CHECKOUT = Path(__file__).resolve().parents[2]


def update(root: Path, accepted: Sequence[str]) -> int:
    """Bring the documents of a checkout up to date, and what is promised with them; returns the command's exit status."""
    after = promises(asyncapi())
    try:
        before = after if ALL in accepted else promised(root)
    except FileNotFoundError:
        print(f"{PROMISED} is missing: bring it back, or promise everything as it is now with accept={ALL}", file=sys.stderr)
        return 2
    changed = write(root)
    now = moved_on(before, after, accepted=frozenset(accepted))
    if promise(root, now):
        changed.append(PROMISED)
    for path in changed:
        print(f"  {path}")
    print(f"{len(changed)} documents changed" if changed else "up to date")
    broken = breaking_changes(now, after)
    for line in broken:
        print(f"BREAKING {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(update(CHECKOUT, sys.argv[1:]))
