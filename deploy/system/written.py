"""Everything a stack has written down: logs, every row of every database, stored files, dead letters."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
from pydantic import SecretStr

from common.contracts.queues import WORK_QUEUES
from common.messaging.dead_letter_box import dead_letter_box
from localstack.postgres import owner_url
from localstack.rabbitmq import broker_url
from localstack.stack import Stack
from localstack.vault import DATABASE_SERVICES

_ROWS_AT_ONCE = 2_000


class Written:
    """What a running stack has written, place by place, for somebody who looks for what should not be there."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def logs(self) -> Iterator[Path]:
        """Yield the log of each program, rotated ones too: services, simulator, PostgreSQL, RabbitMQ, supervisor."""
        yield from sorted(path for path in self._stack.paths.log.iterdir() if path.is_file())

    def stored(self) -> Iterator[Path]:
        """Yield every file of the object storage: media, uploads that were not finished, commands that are kept."""
        yield from sorted(path for path in self._stack.paths.storage.rglob("*") if path.is_file())

    def rows(self, service: str) -> bytes:
        """Return every row of every table of a service's database as JSON text; binary columns are hex in it."""
        return asyncio.run(self._rows(service))

    def databases(self) -> dict[str, bytes]:
        """Return the rows of each service's database."""
        return {service: self.rows(service) for service in DATABASE_SERVICES}

    def dead_letters(self) -> bytes:
        """Return all dead letters with their reasons; they stay."""
        return asyncio.run(self._dead_letters())

    async def _rows(self, service: str) -> bytes:
        # Its owner sees tables that the service itself may not.
        url = owner_url(self._stack.secrets, self._stack.ports, service)
        connection = await asyncpg.connect(url, timeout=10, command_timeout=60)
        written: list[bytes] = []
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                tables = await connection.fetch(
                    "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables"
                    " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'"
                )
                for table in tables:
                    query = f"SELECT to_jsonb(whole_row)::text FROM {table['name']} whole_row"  # noqa: S608 - a quoted name of the catalogue
                    written += [row[0].encode() async for row in connection.cursor(query, prefetch=_ROWS_AT_ONCE)]
        finally:
            await connection.close()
        return b"\n".join(written)

    async def _dead_letters(self) -> bytes:
        url = SecretStr(broker_url(self._stack.secrets, self._stack.ports, "admin"))
        written: list[bytes] = []
        async with dead_letter_box(url, operator="tests") as box:
            for queue in WORK_QUEUES:
                for letter in await box.show(queue):
                    written += [letter.body, letter.reason.encode(), letter.error.encode()]
        return b"\n".join(written)
