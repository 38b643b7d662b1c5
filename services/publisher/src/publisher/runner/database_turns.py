"""Turns at the database: hundreds of jobs share few connections, and those of one user do not keep them from another's."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from common.database import Connection, Database, Transaction

LEFT_TO_OTHERS = 2
"""So many connections of the pool are never a job's: news, questions and retention share it."""


class DatabaseTurns:
    """Lets so many jobs at once to a database; when more want to, their users take turns, each user's jobs in order of asking.

    Who waits has no connection and no time limit of the pool's: its lease is renewed meanwhile.
    """

    def __init__(self, database: Database, at_once: int) -> None:
        self._database = database
        self._free = max(1, at_once)
        self._waiting: OrderedDict[UUID | None, deque[asyncio.Future[None]]] = OrderedDict()

    def of(self, user_id: UUID | None) -> "TurnDatabase":
        """Return the database as a job of this user has it."""
        return TurnDatabase(self, self._database, user_id)

    @asynccontextmanager
    async def turn(self, user_id: UUID | None) -> AsyncIterator[None]:
        """Hold a turn for the block. A turn within another's block might wait for itself."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(user_id)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, user_id: UUID | None) -> None:
        comes: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, deque()).append(comes)
        try:
            await comes
        except asyncio.CancelledError:
            if comes.done() and not comes.cancelled():
                # It had been given in this very moment.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give a turn to the user whose last one is longest ago; who was broken off while it waited gets none."""
        while self._waiting:
            user_id, line = self._waiting.popitem(last=False)
            comes = line.popleft()
            if line:
                self._waiting[user_id] = line
            if not comes.done():
                comes.set_result(None)
                return
        self._free += 1


class TurnDatabase:
    """A database to which a job comes in its user's turn; otherwise as `Database`."""

    def __init__(self, turns: DatabaseTurns, database: Database, user_id: UUID | None) -> None:
        self._turns = turns
        self._database = database
        self._user_id = user_id

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction; see `Database.transaction`."""
        async with self._turns.turn(self._user_id), self._database.transaction() as tx:
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Hand out a connection for single reads; see `Database.read`."""
        async with self._turns.turn(self._user_id), self._database.read() as connection:
            yield connection
