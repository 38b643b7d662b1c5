"""Places for uploads: how many files a replica sends at once, and how many of them for one account."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

PATIENCE_SECONDS = 20.0
SHARES = 2
"""One account has at most this part of the places, so that its slow uploads leave room for others."""


WAITING_PER_ACCOUNT = 50


class NoPlace(Exception):
    """All places are taken; the job is to be left to whoever has one."""


class UploadPlaces:
    """Hands out places in the order of asking, past accounts that have their share.

    Only so many jobs of one account may wait; whatever is more is turned away at once, so that they do not fill the runner.
    """

    def __init__(self, places: int, *, patience: float = PATIENCE_SECONDS) -> None:
        self._free = places
        self._share = max(1, places // SHARES)
        self._patience = patience
        self._taken: Counter[UUID] = Counter()
        self._waiting: list[tuple[UUID, asyncio.Future[None]]] = []

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    def taken_by(self, account_id: UUID) -> int:
        """How many places an account has."""
        return self._taken[account_id]

    def has_room(self, account_id: UUID) -> bool:
        """Whether a place would be handed out at once."""
        return bool(self._free) and self._taken[account_id] < self._share

    @asynccontextmanager
    async def place(self, account_id: UUID, *, unless: asyncio.Event | None = None) -> AsyncIterator[None]:
        """Hold a place for the block; raises `NoPlace` when there is none within the patience, or before `unless` is set."""
        if sum(waiting == account_id for waiting, _ in self._waiting) >= WAITING_PER_ACCOUNT:
            raise NoPlace
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((account_id, granted))
        self._grant()
        calls_off = asyncio.ensure_future((unless or asyncio.Event()).wait())
        ends: list[asyncio.Future[Any]] = [granted, calls_off]
        try:
            await asyncio.wait(ends, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            calls_off.cancel()
            if not granted.done():
                raise NoPlace
            yield
        finally:
            calls_off.cancel()
            self._leave(account_id, granted)

    def _grant(self) -> None:
        for entry in list(self._waiting):
            account_id, granted = entry
            if self._free and self._taken[account_id] < self._share:
                self._waiting.remove(entry)
                self._free -= 1
                self._taken[account_id] += 1
                granted.set_result(None)

    def _leave(self, account_id: UUID, granted: "asyncio.Future[None]") -> None:
        if not granted.done():
            self._waiting.remove((account_id, granted))
            return
        self._free += 1
        self._taken[account_id] -= 1
        if not self._taken[account_id]:
            del self._taken[account_id]
        self._grant()
