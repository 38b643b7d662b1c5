"""`python deploy/covered.py PART.json ...`: what the tests of all parts ran together, and whether that is enough.

Each part was measured by SlipCover, which marks lines and branches in the code itself as it is loaded and removes the marks that
were met: a run takes a tenth longer with it. With `sys.settrace` (before Python 3.12, the only way of coverage.py) it takes twice
as long. Shown are files with something missing.
"""

import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeAlias

from slipcover import merge_coverage, print_coverage
from slipcover.slipcover import add_summaries

ALL_PERCENT = 85
WIDTH = 100

Measured: TypeAlias = dict[str, Any]


def merged(parts: list[Path]) -> Measured:
    """Return what was run in any of the parts; raises OSError or ValueError for a part that was not measured to its end."""
    first, *others = (json.loads(part.read_text(encoding="utf-8")) for part in parts)
    for other in others:
        merge_coverage(first, other)
    whole: Measured = first
    return whole


def deciding(whole: Measured, patterns: list[str]) -> Measured:
    """Return the files of the code that decides; raises LookupError for a pattern of which no file was measured."""
    files = {name: found for name, found in whole["files"].items() if any(fnmatch(name, pattern) for pattern in patterns)}
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in files):
            raise LookupError(f"nothing was measured of {pattern}")
    part = {"meta": whole["meta"], "files": files}
    add_summaries(part)
    return part


def gaps(measured: Measured) -> int:
    """Return how many lines and branches no test ran."""
    summary = measured["summary"]
    return int(summary["missing_lines"] + summary["missing_branches"])


def main(parts: list[str]) -> int:
    """Print both tables; return 0 when enough was run."""
    whole = merged([Path(part) for part in parts])
    listed = Path("deploy/decisions.txt").read_text(encoding="utf-8").splitlines()
    decides = deciding(whole, [line for line in listed if not line.startswith("#")])
    percent = whole["summary"]["percent_covered"]
    print_coverage(whole, missing_width=WIDTH, skip_covered=True)
    print(f"\nAll members: {percent:.1f} % of lines and branches, at least {ALL_PERCENT} are asked for.")
    print("\n== coverage of the code that decides whether and when something is published")
    if gaps(decides):
        print_coverage(decides, missing_width=WIDTH, skip_covered=True)
    print(f"{len(decides['files'])} files that decide: {gaps(decides)} lines and branches missing, none may be.")
    return 0 if percent >= ALL_PERCENT and gaps(decides) == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
