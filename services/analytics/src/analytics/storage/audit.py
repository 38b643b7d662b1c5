"""The audit trail as a list: a user's own events, newest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.storage.moments import readable
from analytics.storage.tables import records


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Whose events, and which of them; `since` is inclusive, `until` exclusive."""

    user_id: UUID
    action: str | None = None
    object_type: str | None = None
    object_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One row of the trail, as stored."""

    id: UUID
    time: datetime
    source: str
    user_id: UUID
    actor: str | None
    action: str
    object_type: str
    object_id: str | None
    result: str
    reason: str | None
    client_ip: str | None
    user_agent: str | None
    correlation_id: str | None
    changes: dict[str, Any] | None


async def newest(
    connection: AsyncConnection, query: AuditQuery, *, before: tuple[datetime, UUID] | None, limit: int
) -> list[AuditRecord]:
    """Return up to `limit` records older than `before` (time and id), newest first."""
    statement = _matching(select(*(records.c[name] for name in AuditRecord.__slots__)), query)
    if before is not None:
        statement = statement.where(tuple_(records.c.time, records.c.id) < tuple_(*map(literal, before)))
    statement = statement.order_by(records.c.time.desc(), records.c.id.desc()).limit(limit)
    return [AuditRecord(**row) for row in (await connection.execute(statement)).mappings()]


async def oldest(
    connection: AsyncConnection, query: AuditQuery, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[AuditRecord]:
    """Return up to `limit` records newer than `after` (time and id), oldest first."""
    statement = _matching(select(*(records.c[name] for name in AuditRecord.__slots__)), query)
    if after is not None:
        statement = statement.where(tuple_(records.c.time, records.c.id) > tuple_(*map(literal, after)))
    statement = statement.order_by(records.c.time, records.c.id).limit(limit)
    return [AuditRecord(**row) for row in (await connection.execute(statement)).mappings()]


async def count(connection: AsyncConnection, query: AuditQuery, *, limit: int) -> int:
    """Return how many records match, counting no further than `limit`."""
    matching = _matching(select(literal(1)).select_from(records), query).limit(limit).subquery()
    return int(await connection.scalar(select(func.count()).select_from(matching)) or 0)


def _matching(statement: Select[Any], query: AuditQuery) -> Select[Any]:
    # A time that was changed by hand to what no program can read would take the whole page with it; the chain's proof names it.
    conditions = [records.c.user_id == query.user_id, records.c.again.is_(False), readable(records.c.time)]
    if query.action is not None:
        conditions.append(records.c.action == query.action)
    if query.object_type is not None:
        # An action begins with its object's type: one index serves both filters.
        conditions += [records.c.action >= f"{query.object_type}.", records.c.action < f"{query.object_type}/"]
    if query.object_id is not None:
        conditions.append(records.c.object_id == str(query.object_id))
    if query.since is not None:
        conditions.append(records.c.time >= query.since)
    if query.until is not None:
        conditions.append(records.c.time < query.until)
    return statement.where(*conditions)
