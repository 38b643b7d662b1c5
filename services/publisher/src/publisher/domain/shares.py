"""Who gets the free places of a runner: earliest first, but one user's jobs have no more places than are left free."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


class Places:
    """Places of a runner: how many are free, and how many the jobs of each user have."""

    def __init__(self, free: int, held: Mapping[UUID | None, int] | None = None) -> None:
        self._free = free
        self._held: Counter[UUID | None] = Counter(held)

    def has_room(self, user_id: UUID | None) -> bool:
        """Whether a job of this user may have a place: unless it has as many already as are free."""
        return self._held[user_id] < self._free

    def take(self, user_id: UUID | None) -> bool:
        """Take a place for a job of this user if it may have one; returns whether it was taken."""
        if not self.has_room(user_id):
            return False
        self._held[user_id] += 1
        self._free -= 1
        return True

    @property
    def crowded(self) -> frozenset[UUID | None]:
        """Users who may have no more places now."""
        return frozenset(user_id for user_id, held in self._held.items() if held >= self._free)


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job whose time has come: whose it is (None: cannot be told), and since when it is due."""

    id: UUID
    user_id: UUID | None
    since: datetime


def share_out(due: Sequence[DueJob], places: Places, batch: Places | None = None) -> list[DueJob]:
    """Take places for due jobs, given earliest first, and return those that got one; order kept.

    With `batch`, one also has to be there: of what is claimed at once, a user has a share, too.
    """
    return [job for job in due if (batch is None or batch.has_room(job.user_id)) and _take(job.user_id, places, batch)]


def _take(user_id: UUID | None, places: Places, batch: Places | None) -> bool:
    return places.take(user_id) and (batch is None or batch.take(user_id))
