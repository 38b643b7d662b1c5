"""Counts of answers per endpoint, so that tests can see what was refused."""

from collections import Counter
from typing import Any


class Stats:
    """Answers by endpoint and status since the start; 0 stands for a connection closed without an answer."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._refusals: Counter[tuple[str, str]] = Counter()

    def count(self, endpoint: str, status: int) -> None:
        """Count an answer."""
        self._answers[(endpoint, status)] += 1

    def refuse(self, endpoint: str, code: str) -> None:
        """Count a refusal by its code."""
        self._refusals[(endpoint, code)] += 1

    def clear(self) -> None:
        """Start again from zero."""
        self._answers.clear()
        self._refusals.clear()

    def as_json(self) -> dict[str, Any]:
        """Return the counts.

        ``requests``: endpoint to status to count. ``rate_limited``: endpoint to count of 429. ``refusals``: endpoint to
        code to count. ``refused``: code to count over all endpoints. Ordered refusals count too.
        """
        requests: dict[str, dict[str, int]] = {}
        for (endpoint, status), count in sorted(self._answers.items()):
            requests.setdefault(endpoint, {})[str(status)] = count
        refusals: dict[str, dict[str, int]] = {}
        refused: Counter[str] = Counter()
        for (endpoint, code), count in sorted(self._refusals.items()):
            refusals.setdefault(endpoint, {})[code] = count
            refused[code] += count
        limited = {endpoint: count for (endpoint, status), count in self._answers.items() if status == 429}
        return {"requests": requests, "rate_limited": limited, "refusals": refusals, "refused": dict(refused)}
