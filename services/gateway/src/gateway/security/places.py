"""Places for what takes long: so many at once, so many of one user's."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from common.errors import Problem

RETRY_SECONDS = 10


class Places:
    """How many of one kind of work this process does at the same time."""

    def __init__(self, *, in_all: int, per_user: int) -> None:
        self._in_all = in_all
        self._per_user = per_user
        self._taken: Counter[UUID] = Counter()

    @contextmanager
    def held(self, user_id: UUID) -> Iterator[None]:
        """Hold a place for the block; Problem 429 `too_many_at_once` when there is none."""
        if self._taken[user_id] >= self._per_user or self._taken.total() >= self._in_all:
            raise Problem(
                429,
                "too_many_at_once",
                "Too many of these are under way.",
                hint=f"Wait for one to end, or try again in {RETRY_SECONDS} seconds.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        self._taken[user_id] += 1
        try:
            yield
        finally:
            self._taken[user_id] -= 1
            if not self._taken[user_id]:
                del self._taken[user_id]
