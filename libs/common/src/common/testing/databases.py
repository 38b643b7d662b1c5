"""Fresh databases for tests: one per service and run, migrated as in production, emptied between tests."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from common.database.migrate import upgrade
from common.ids import uuid7
from common.testing.kept_connections import KeptConnections

APART_FROM_OWNER = frozenset({"analytics"})
"""Services that run as a role of their own, with less rights than the one that migrates."""
STATEMENT_SECONDS = 30.0
LOCK_TIMEOUT = "5s"

ROWS_KEPT = 2_000
"""Of each table, for whoever wants to see what a test wrote: a test that makes more makes them all alike."""

_TABLES_WITH_ROWS = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND c.relname <> 'alembic_version'
"""


def with_database(url: str, name: str) -> str:
    """Return the address of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


class TestDatabases:
    """Makes databases on a server, and roles where a service has one of its own; drops them at the end."""

    __test__ = False

    def __init__(
        self,
        server_url: str,
        *,
        keep: Callable[[list[str]], None] | None = None,
        connections: KeptConnections | None = None,
    ) -> None:
        """`keep` is given rows, as JSON, before they are deleted; `connections` keeps those to the databases that stay."""
        self._server_url = server_url
        self._keep = keep
        self._connections = connections
        self._urls: dict[str, str] = {}
        self._cleaning: dict[str, asyncpg.Connection] = {}
        self._names: list[str] = []
        self._roles: dict[str, tuple[str, str]] = {}

    async def create(self, label: str) -> str:
        """Make an empty database and return its address; `label` is part of its name."""
        name = f"test_{label}_{os.getpid()}_{uuid7().hex[-10:]}"
        await self._on_server(f'CREATE DATABASE "{name}" TEMPLATE template0')
        self._names.append(name)
        return with_database(self._server_url, name)

    async def url(self, service: str) -> str:
        """Return the address of this run's database of a service, made and migrated at the first call."""
        if service not in self._urls:
            self._urls[service] = url = await self.migrated(service)
            if self._connections is not None:
                self._connections.keep_those_to(url)
        return self._urls[service]

    async def migrated(self, service: str) -> str:
        """Make another database of a service, migrate it, and return its address as the service itself uses it."""
        url = await self.create(service)
        if service not in APART_FROM_OWNER:
            await upgrade(service, url)
            return url
        role, password = await self.role(service)
        await upgrade(service, url, role=role)
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))

    async def role(self, service: str) -> tuple[str, str]:
        """Return name and password of the role that a service runs as, made at the first call."""
        if service not in self._roles:
            name, password = f"test_{service}_{os.getpid()}_{uuid7().hex[-10:]}", secrets.token_hex(16)
            await self._on_server(f"CREATE ROLE {name} LOGIN NOSUPERUSER PASSWORD '{password}'")
            self._roles[service] = name, password
        return self._roles[service]

    def as_owner(self, url: str) -> str:
        """Return the address of the same database for the role that owns it."""
        return with_database(self._server_url, urlsplit(url).path.removeprefix("/"))

    async def clean(self, service: str) -> str:
        """Remove all rows of the service's database and return its address; sequences go on."""
        fresh = service not in self._urls
        url = await self.url(service)
        if not fresh:
            await self._delete_all_rows(self.as_owner(url))
        return url

    async def _delete_all_rows(self, url: str) -> None:
        """Do so over a connection that stays: a test may have cut it, once."""
        connection = self._cleaning.get(url)
        if connection is not None:
            try:
                await _delete_all(connection, self._keep)
            except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError, OSError):
                connection.terminate()
            else:
                return
        self._cleaning[url] = connection = await asyncpg.connect(url, timeout=STATEMENT_SECONDS)
        await _delete_all(connection, self._keep)

    async def drop_all(self) -> None:
        """Drop what was made, whoever is still connected."""
        if self._connections is not None:
            self._connections.forget_all()
        while self._cleaning:
            self._cleaning.popitem()[1].terminate()
        if self._keep is not None:
            for name in self._names:
                # A test may have dropped its own.
                with suppress(asyncpg.InvalidCatalogNameError):
                    await self._show(name, self._keep)
        while self._names:
            await self._on_server(f'DROP DATABASE IF EXISTS "{self._names.pop()}" WITH (FORCE)')
        for name, _ in self._roles.values():
            await self._on_server(f"DROP ROLE IF EXISTS {name}")
        self._urls.clear()
        self._roles.clear()

    async def _show(self, name: str, keep: Callable[[list[str]], None]) -> None:
        connection = await asyncpg.connect(with_database(self._server_url, name), timeout=STATEMENT_SECONDS)
        try:
            keep(await _rows(connection, await _tables(connection)))
        finally:
            await connection.close()

    async def _on_server(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server_url, timeout=STATEMENT_SECONDS)
        try:
            await connection.execute(statement, timeout=STATEMENT_SECONDS)
        finally:
            await connection.close()


async def delete_all_rows(url: str, *, keep: Callable[[list[str]], None] | None = None) -> None:
    """Delete the rows of every table but Alembic's, whatever foreign keys say; `keep` is given them first, as JSON."""
    connection = await asyncpg.connect(url, timeout=STATEMENT_SECONDS)
    try:
        await _delete_all(connection, keep)
    finally:
        await connection.close()


async def _delete_all(connection: asyncpg.Connection, keep: Callable[[list[str]], None] | None) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute("SET LOCAL session_replication_role = replica")
        names = await _tables(connection)
        if keep is not None:
            keep(await _rows(connection, names))
        await connection.execute("".join(f"DELETE FROM {name};" for name in names), timeout=STATEMENT_SECONDS)  # noqa: S608 - names are quoted by PostgreSQL


async def _tables(connection: asyncpg.Connection) -> list[str]:
    return [record["name"] for record in await connection.fetch(_TABLES_WITH_ROWS, timeout=STATEMENT_SECONDS)]


async def _rows(connection: asyncpg.Connection, tables: list[str]) -> list[str]:
    """Return up to 2,000 rows of each table as JSON, in which binary columns are hex."""
    parts = (f"(SELECT to_jsonb(whole_row)::text AS row FROM {name} whole_row LIMIT {ROWS_KEPT})" for name in tables)  # noqa: S608 - names are quoted by PostgreSQL
    statement = " UNION ALL ".join(parts)
    return [record["row"] for record in await connection.fetch(statement, timeout=STATEMENT_SECONDS)] if statement else []
