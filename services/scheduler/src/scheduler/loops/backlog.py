"""How many due posts are on their way to the publisher: claiming pauses while there are too many."""

from typing import Protocol


class Backlog(Protocol):
    """Tells whether claiming should pause."""

    async def is_full(self) -> bool:
        """Return True while more due posts wait in outbox and queue than the publisher takes soon."""


class NoBacklog:
    """A backlog that is never full."""

    async def is_full(self) -> bool:
        """Return False."""
        return False
