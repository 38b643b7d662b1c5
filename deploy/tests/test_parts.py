"""The parts in which `make test` runs the tests."""

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PARTS = r"""
source <(sed -n '/^parts=/,/^)/p' deploy/test.sh)
for part in "${parts[@]}"; do find $part -name 'test_*.py'; done
"""


def test_every_test_is_in_exactly_one_part() -> None:
    found = subprocess.run(["bash", "-euc", PARTS], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.split()
    folders = ("libs", "services", "tests", "deploy/tests")
    there = [str(path.relative_to(CHECKOUT)) for folder in folders for path in (CHECKOUT / folder).rglob("test_*.py")]
    assert sorted(found) == sorted(there)
