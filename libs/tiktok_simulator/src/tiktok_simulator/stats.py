"""Counts of answers per endpoint, so that tests can see what was refused."""

from collections import Counter
from typing import Any


class Stats:
    """Answers by endpoint and status since the start; 0 stands for a connection closed without an answer."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()

    def count(self, endpoint: str, status: int) -> None:
        """Count an answer."""
        self._answers[(endpoint, status)] += 1

    def clear(self) -> None:
        """Start again from zero."""
        self._answers.clear()

    def as_json(self) -> dict[str, Any]:
        """Return ``requests`` (endpoint to status to count) and ``rate_limited`` (endpoint to count of 429)."""
        requests: dict[str, dict[str, int]] = {}
        for (endpoint, status), count in sorted(self._answers.items()):
            requests.setdefault(endpoint, {})[str(status)] = count
        limited = {endpoint: count for (endpoint, status), count in self._answers.items() if status == 429}
        return {"requests": requests, "rate_limited": limited}
