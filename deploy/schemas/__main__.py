"""`python -m schemas`: write the documents; tell what changed, and what of it breaks consumers (then it ends with 1)."""

from __future__ import annotations

import sys
from pathlib import Path

from schemas.asyncapi import asyncapi
from schemas.breaking import breaking_changes
from schemas.documents import version_before, write

CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run from the command line."""
    changed = write(CHECKOUT)
    for path in changed:
        print(f"  {path}")
    print(f"{len(changed)} documents changed" if changed else "up to date")
    before = version_before(CHECKOUT)
    broken = breaking_changes(before, asyncapi()) if before is not None else []
    for line in broken:
        print(f"BREAKING {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
