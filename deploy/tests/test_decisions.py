"""The list of the code that decides names code that is there: a pattern that matches nothing would guard nothing."""

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LINES = (CHECKOUT / "deploy/decisions.txt").read_text(encoding="utf-8").splitlines()
PATTERNS = [line for line in LINES if not line.startswith("#")]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_matches_a_file(pattern: str) -> None:
    assert any(path.is_file() for path in CHECKOUT.glob(pattern))


def test_each_pattern_is_named_once() -> None:
    assert len(PATTERNS) == len(set(PATTERNS))
