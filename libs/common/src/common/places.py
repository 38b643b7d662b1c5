"""Places for what takes long: so many at once, so many of one user's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from common.errors import Problem

RETRY_SECONDS = 10


class NoPlace(Problem):
    """The refusal of who gets no place."""


class Places:
    """How many of one kind of work this process does at the same time.

    `waiting_per_user` and `waiting_in_all` bound those that wait for a place.
    """

    def __init__(self, *, in_all: int, per_user: int, waiting_in_all: int = 0, waiting_per_user: int = 0) -> None:
        self._in_all = in_all
        self._per_user = per_user
        self._waiting_in_all = waiting_in_all
        self._waiting_per_user = waiting_per_user
        self._taken: Counter[UUID] = Counter()
        self._waiting: dict[asyncio.Future[None], UUID] = {}

    @property
    def taken(self) -> int:
        """How many are held."""
        return self._taken.total()

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    @contextmanager
    def held(self, user_id: UUID) -> Iterator[None]:
        """Hold a place for the block.

        Raises NoPlace: 429 `too_many_at_once` when the user has all that one may have, 503 `all_places_taken` when there is none.
        """
        if not self._is_free_for(user_id):
            raise self._refusal(user_id)
        self._taken[user_id] += 1
        try:
            yield
        finally:
            self._give_back(user_id)

    @asynccontextmanager
    async def waited_for(self, user_id: UUID, *, seconds: float) -> AsyncIterator[None]:
        """Hold a place for the block, after waiting for it: users who hold fewest come first, then who came first.

        Raises NoPlace: 429 `too_many_at_once` or 503 `all_places_taken`, as `held` does, when too many wait already, or there is
        none within `seconds`.
        """
        if self._is_free_for(user_id):
            self._taken[user_id] += 1
        else:
            await self._wait(user_id, seconds)
        try:
            yield
        finally:
            self._give_back(user_id)

    async def _wait(self, user_id: UUID, seconds: float) -> None:
        own = sum(waiting == user_id for waiting in self._waiting.values())
        if own >= self._waiting_per_user or self.waiting >= self._waiting_in_all:
            raise self._refusal(user_id)
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = user_id
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if self._waiting.pop(turn, None) is None:
                # The place was given at the moment the wait ended.
                self._give_back(user_id)
            if isinstance(error, TimeoutError):
                raise self._refusal(user_id) from None
            raise

    def _is_free_for(self, user_id: UUID) -> bool:
        return self._taken[user_id] < self._per_user and self._taken.total() < self._in_all

    def _give_back(self, user_id: UUID) -> None:
        self._taken[user_id] -= 1
        if not self._taken[user_id]:
            del self._taken[user_id]
        # A place was given back: at most one of those that wait can have it.
        turn = min(
            (turn for turn, waiting in self._waiting.items() if not turn.done() and self._is_free_for(waiting)),
            key=lambda turn: self._taken[self._waiting[turn]],
            default=None,
        )
        if turn is not None:
            self._taken[self._waiting.pop(turn)] += 1
            turn.set_result(None)

    def _refusal(self, user_id: UUID) -> NoPlace:
        headers = {"Retry-After": str(RETRY_SECONDS)}
        if self._taken[user_id] >= self._per_user:
            hint = f"Wait for one to end, or try again in {RETRY_SECONDS} seconds."
            return NoPlace(429, "too_many_at_once", "Too many of yours are under way.", hint=hint, headers=headers)
        hint = f"Try again in {RETRY_SECONDS} seconds."
        return NoPlace(503, "all_places_taken", "Too many of all users' are under way.", hint=hint, headers=headers)
