"""Events in and out of the database."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.audit import AuditEntry, describe
from analytics.domain.event import Event
from analytics.domain.storable import storable
from analytics.storage.tables import events

_EVENT_FIELDS = tuple(field.name for field in fields(Event))
_AUDIT_FIELDS = tuple(field.name for field in fields(AuditEntry))

# One parameter holds all rows: the statement never changes with the batch's size, so it is planned and prepared once.
_INSERT = text(
    """
    INSERT INTO events (id, key, source, subject, time, user_id, actor, client_ip, user_agent, correlation_id, causation_id,
                        sequence, action, object_type, object_id, result, reason, changes, data, again)
    SELECT id, key, source, subject, time, user_id, actor, client_ip, user_agent, correlation_id, causation_id,
           sequence, action, object_type, object_id, result, reason, changes, data, again
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row (
        id uuid, key text, source text, subject text, time timestamptz, user_id uuid, actor text, client_ip text,
        user_agent text, correlation_id text, causation_id text, sequence bigint, action text, object_type text,
        object_id text, result text, reason text, changes jsonb, data jsonb, again boolean)
    ORDER BY id
    ON CONFLICT DO NOTHING
    """
)


async def insert_new(connection: AsyncConnection, batch: Sequence[Event]) -> int:
    """Store the events that are not stored yet, each with its audit side; returns how many were new.

    Rows go in by ascending id, so that two replicas with the same events wait for each other and do not deadlock.
    """
    result = await connection.execute(_INSERT, {"rows": orjson.dumps([_row(event) for event in batch]).decode()})
    return result.rowcount


async def of_object(connection: AsyncConnection, object_id: str, *, limit: int) -> list[Event]:
    """Return the newest `limit` events about an object (what the publisher does to a post is about the post)."""
    query = (
        select(*(events.c[name] for name in _EVENT_FIELDS))
        .where(events.c.object_id == object_id, events.c.again.is_(False))
        .order_by(events.c.time.desc())
        .limit(limit)
    )
    return [Event(**row) for row in (await connection.execute(query)).mappings()]


def _row(event: Event) -> dict[str, Any]:
    entry = describe(event)
    row = {name: getattr(event, name) for name in _EVENT_FIELDS} | {name: getattr(entry, name) for name in _AUDIT_FIELDS}
    return {name: storable(value) for name, value in row.items()} | {"again": event.again}
