"""Requests of a post's owner run in any order; what was wanted last holds."""

from datetime import datetime, timedelta

CLOCKS_APART = timedelta(seconds=2)
"""The times compared come from the clocks of different machines; what is older by no more than this may be the later one."""


def is_overtaken(sent_at: datetime, *, by: datetime | None) -> bool:
    """Tell whether a request is clearly older than the moment `by` (None: there was none) of what it knew nothing of."""
    return by is not None and sent_at < by - CLOCKS_APART
