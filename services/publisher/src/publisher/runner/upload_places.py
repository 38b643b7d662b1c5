"""Places for uploads: how many files a replica sends at once, and how many of them for one user and one account."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

PATIENCE_SECONDS = 20.0
SHARES = 4
"""One account has at most this part of the places, half of what its user alone may have: its slow uploads leave room for others."""
WAITING_PER_ACCOUNT = 50


class NoPlace(Exception):
    """All places are taken; the job is to be left to whoever has one."""


class UploadPlaces:
    """Hands out places in the order of asking, past users and accounts that have their share.

    One user has no more places than are left free, as with jobs (`publisher.domain.shares`): whoever has none finds one. Only so
    many jobs of one account may wait; whatever is more is turned away at once, so that they do not fill the runner.
    """

    def __init__(self, places: int, *, patience: float = PATIENCE_SECONDS) -> None:
        self._free = places
        self._share = max(1, places // SHARES)
        self._patience = patience
        self._of_users: Counter[UUID | None] = Counter()
        self._of_accounts: Counter[UUID] = Counter()
        self._waiting: list[_Asker] = []

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._of_accounts.total()

    def taken_by(self, account_id: UUID) -> int:
        """How many places an account has."""
        return self._of_accounts[account_id]

    def has_room(self, user_id: UUID | None, account_id: UUID) -> bool:
        """Whether a place would be handed out at once."""
        return self._of_users[user_id] < self._free and self._of_accounts[account_id] < self._share

    @asynccontextmanager
    async def place(
        self, user_id: UUID | None, account_id: UUID, *, unless: asyncio.Event | None = None
    ) -> AsyncIterator[None]:
        """Hold a place for the block; raises `NoPlace` when there is none within the patience, or before `unless` is set."""
        if sum(waiting.account_id == account_id for waiting in self._waiting) >= WAITING_PER_ACCOUNT:
            raise NoPlace
        asker = _Asker(user_id, account_id, asyncio.get_running_loop().create_future())
        self._waiting.append(asker)
        self._grant()
        calls_off = asyncio.ensure_future((unless or asyncio.Event()).wait())
        ends: list[asyncio.Future[Any]] = [asker.granted, calls_off]
        try:
            await asyncio.wait(ends, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            calls_off.cancel()
            if not asker.granted.done():
                raise NoPlace
            yield
        finally:
            calls_off.cancel()
            self._leave(asker)

    def _grant(self) -> None:
        for asker in list(self._waiting):
            if self.has_room(asker.user_id, asker.account_id):
                self._waiting.remove(asker)
                self._free -= 1
                self._of_users[asker.user_id] += 1
                self._of_accounts[asker.account_id] += 1
                asker.granted.set_result(None)

    def _leave(self, asker: "_Asker") -> None:
        if not asker.granted.done():
            self._waiting.remove(asker)
            return
        self._free += 1
        self._of_users -= Counter([asker.user_id])
        self._of_accounts -= Counter([asker.account_id])
        self._grant()


@dataclass(frozen=True, slots=True, eq=False)
class _Asker:
    """A job that wants a place, told when it has one."""

    user_id: UUID | None
    account_id: UUID
    granted: asyncio.Future[None]
