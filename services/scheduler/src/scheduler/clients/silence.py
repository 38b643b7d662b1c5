"""A service that keeps its callers waiting is left alone for a moment."""

from collections.abc import Hashable
from time import monotonic

AFTER = 3
"""So many calls in a row that were waited for in vain: one account's trouble is not its service's."""
LONG_S = 0.25
"""Who fails sooner keeps nobody waiting."""


class Silence:
    """Whether to spare the next one the wait: after 3 vain waits in a row nobody but one at a time asks, each `seconds` apart."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._in_vain: set[Hashable] = set()
        self._until = float("-inf")

    def is_kept(self) -> bool:
        """Tell whether not to ask now; who may ask although the others did in vain does it for all."""
        if len(self._in_vain) < AFTER:
            return False
        if monotonic() < self._until:
            return True
        self._until = monotonic() + self._seconds
        return False

    def note(self, about: Hashable, *, answered: bool, waited: float) -> None:
        """Note how a call about something ended, after so many seconds; several about the same thing count as one."""
        if answered or waited < LONG_S:
            self._in_vain.clear()
        elif len(self._in_vain) < AFTER:
            self._in_vain.add(about)
        self._until = monotonic() + self._seconds
