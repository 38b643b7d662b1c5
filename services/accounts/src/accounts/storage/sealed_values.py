"""Every sealed value in the database, to be read and replaced in batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Column, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import metadata

SealedTable: TypeAlias = Table
SEALED_SUFFIX = "_sealed"


@dataclass(frozen=True, slots=True)
class SealedRow:
    """The sealed values of one row, in the order of the table's columns."""

    key: Any
    values: tuple[bytes, ...] = field(repr=False)


def sealed_tables() -> list[Table]:
    """Return every table that has a sealed column."""
    return [table for table in metadata.sorted_tables if sealed_columns(table)]


def sealed_columns(table: Table) -> list[Column[Any]]:
    """Return the sealed columns of a table."""
    return [column for column in table.columns if column.name.endswith(SEALED_SUFFIX)]


async def read_sealed(connection: AsyncConnection, table: Table, *, after: Any, limit: int) -> list[SealedRow]:
    """Return up to `limit` rows in the order of their key, from the beginning or `after` a key."""
    key = _key(table)
    statement = select(key, *sealed_columns(table)).order_by(key).limit(limit)
    if after is not None:
        statement = statement.where(key > after)
    return [SealedRow(row[0], tuple(row[1:])) for row in await connection.execute(statement)]


async def replace_sealed(connection: AsyncConnection, table: Table, row: SealedRow, values: Sequence[bytes]) -> bool:
    """Put other seals of the same secrets in their place; False when the row has changed or gone: a newer secret is never lost."""
    columns = sealed_columns(table)
    unchanged = [column == old for column, old in zip(columns, row.values, strict=True)]
    statement = update(table).where(_key(table) == row.key, *unchanged).values(dict(zip(columns, values, strict=True)))
    return bool((await connection.execute(statement)).rowcount)


def _key(table: Table) -> Column[Any]:
    return next(iter(table.primary_key.columns))
