"""Connections to the databases of a test run, which outlive the engines that open and close them.

Each test has engines of its own, whose connections took the servers and this process a quarter of the run: a process of PostgreSQL
each, with nothing known, and every statement prepared anew.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg

KEPT_AT_ONCE = 60
"""Idle ones of one process, far below what a server allows."""
STATEMENTS = 500
"""Prepared ones that a connection keeps."""
RESET_SECONDS = 5.0

Place = tuple[str, int, str]
Key = tuple[Place, str, frozenset[tuple[str, str]]]
_BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class KeptConnections:
    """Opens connections for engines, and keeps those that are closed in good order for whoever opens the same again."""

    def __init__(self) -> None:
        self._places: dict[Place, asyncio.AbstractEventLoop] = {}
        self._idle: defaultdict[Key, list[Raw]] = defaultdict(list)

    def keep_those_to(self, url: str) -> None:
        """Keep connections to this database that the loop running now has opened, until `forget_all`; others end when closed.

        Its tables must stay as they are: what was prepared for an earlier engine would be wrong.
        """
        parts = urlsplit(url)
        self._places[parts.hostname or "", parts.port or 5432, parts.path.removeprefix("/")] = asyncio.get_running_loop()

    async def connect(self, **options: Any) -> Any:
        """Do what `asyncpg.connect` does; options that were not given when a connection was kept never get that one."""
        place = (options["host"], options["port"], options["database"])
        if self._places.get(place) is not asyncio.get_running_loop():
            return await asyncpg.connect(**options)
        key = (place, options["user"], frozenset(options["server_settings"].items()))
        while self._idle[key]:
            raw = self._idle[key].pop()
            if await raw.answers():
                return Borrowed(raw, self._give_back(key))
        return Borrowed(Raw(await asyncpg.connect(**options)), self._give_back(key))

    def forget_all(self) -> None:
        """Close what is kept, and keep nothing more."""
        self._places.clear()
        for raw in [raw for kept in self._idle.values() for raw in kept]:
            raw.connection.terminate()
        self._idle.clear()

    def _room(self) -> bool:
        return sum(map(len, self._idle.values())) < KEPT_AT_ONCE

    def _give_back(self, key: Key) -> "GiveBack":
        async def give_back(raw: Raw) -> None:
            try:
                if key[0] in self._places and self._room() and await raw.cleared():
                    self._idle[key].append(raw)
                else:
                    await raw.connection.close(timeout=RESET_SECONDS)
            except BaseException:
                raw.connection.terminate()
                raise

        return give_back


class Raw:
    """A real connection, with what was prepared and set up on it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.prepared: dict[str, Any] = {}
        self.codecs: set[str] = set()

    async def answers(self) -> bool:
        """Whether it is still connected: its server, or a test, may have ended it."""
        if self.connection.is_closed():
            return False
        try:
            await self.connection.execute("SELECT", timeout=RESET_SECONDS)
        except _BROKEN:
            self.connection.terminate()
            return False
        return True

    async def cleared(self) -> bool:
        """Make it as new for the server (settings, locks); False for one that is broken or in the middle of something."""
        if self.connection.is_closed() or self.connection.is_in_transaction():
            return False
        with suppress(*_BROKEN):
            await self.connection.reset(timeout=RESET_SECONDS)
            return True
        return False


GiveBack = Callable[[Raw], Awaitable[None]]


class Borrowed:
    """A connection for one engine: closed, it is used no more, though the real one may live on."""

    def __init__(self, raw: Raw, give_back: GiveBack) -> None:
        self._raw = raw
        self._give_back = give_back
        self._asked: set[str] = set()
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        return getattr(self._raw.connection, name)

    def is_closed(self) -> bool:
        """Whether it may be used no more."""
        return self._closed or cast("bool", self._raw.connection.is_closed())

    async def close(self, *, timeout: float | None = None) -> None:
        """Give it back; with a timeout, as whoever has found something wrong with it does, close it."""
        closed, self._closed = self._closed, True
        if timeout is not None:
            await self._raw.connection.close(timeout=timeout)
        elif not closed:
            await self._give_back(self._raw)

    def terminate(self) -> None:
        """Cut it."""
        self._closed = True
        self._raw.connection.terminate()

    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare a statement, or return it as it was prepared for an earlier engine; asked for again by the same one, anew."""
        prepared = self._raw.prepared
        if query in self._asked or query not in prepared:
            if len(prepared) >= STATEMENTS:
                prepared.clear()
            prepared[query] = await self.__getattr__("prepare")(query, **options)
        self._asked.add(query)
        return prepared[query]

    async def reload_schema_state(self) -> None:
        """Forget what was prepared: something has changed."""
        self._raw.prepared.clear()
        await self.__getattr__("reload_schema_state")()

    async def set_type_codec(self, typename: str, **options: Any) -> None:
        """Set how a type is written and read, once: all engines do it alike, and each time all that is prepared would be lost."""
        if typename not in self._raw.codecs:
            await self.__getattr__("set_type_codec")(typename, **options)
            self._raw.codecs.add(typename)
