"""Migration 0002 on a database with data: what was stored becomes the beginning of the trail, and is served as before."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from analytics.domain.event import Event
from analytics.storage.audit import AuditQuery
from analytics.storage.post_day_tables import stats_post_days
from analytics.usecases.list_audit import list_audit
from analytics.usecases.read_timeline import read_timeline
from analytics.usecases.record_events import record_events
from analytics.usecases.verify_audit import verify_audit
from common.database import Database
from common.database.migrate import upgrade
from common.ids import uuid7
from common.testing.databases import TestDatabases

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)
INSERT = """
INSERT INTO events (id, key, source, subject, time, received_at, user_id, actor, client_ip, user_agent, correlation_id,
    causation_id, sequence, action, object_type, object_id, result, reason, changes, data, again)
VALUES ($1, 'scheduler.post.updated.v1', '/services/scheduler', $2, $3, $4, $5, $6, $7, $8, $9, NULL, $10, 'post.updated',
    'post', $2, 'success', NULL, $11, $12, $13)
"""
TOTAL = 4_500


def old_rows(user: UUID, post: UUID) -> list[tuple[Any, ...]]:
    """Rows of three months, in no order, some at the same instant, with all that `jsonb` may hold and with nothing."""
    full = ("user:7", "192.0.2.1", 'say "\u00e9"\\', "corr", 9_999_999_999)
    data = '{"b": [1.50, 1e3, -0.0, 12345678901234567890123, null, "\\u2028\\t"], "a": {"z": true}}'
    rows: list[tuple[Any, ...]] = []
    for number in range(TOTAL):
        received = NOW - timedelta(days=(number * 7) % 70, seconds=number // 3)
        actor, ip, agent, correlation, sequence = full if number % 2 else (None,) * 5
        changes = '{"caption": {"new": "x", "old": null}}' if number % 3 == 0 else None
        times = received - timedelta(seconds=1), received
        rows.append(
            (uuid7(), str(post), *times, user, actor, ip, agent, correlation, sequence, changes, data, number % 50 == 0)
        )
    return rows


async def test_what_was_stored_becomes_the_beginning_of_the_trail(
    empty_database: Callable[[str], Awaitable[str]], run_databases: TestDatabases
) -> None:
    url = await empty_database("analytics_before")
    await upgrade("analytics", url, "0001")
    user, post = uuid4(), uuid7()
    rows = old_rows(user, post)
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(INSERT, rows)
        stored = await connection.fetch("SELECT id, data::text FROM events ORDER BY received_at, id")
        role, _ = await run_databases.role("analytics")
        await upgrade("analytics", url, "0002", role=role)
        await upgrade("analytics", url, role=role)
        kept = await connection.fetch("SELECT seq, id, data::text FROM audit.records ORDER BY recorded_at, seq")
        assert [(row["seq"], row["id"], row["data"]) for row in kept] == [
            (number, row["id"], row["data"]) for number, row in enumerate(stored, start=1)
        ]
        assert await connection.fetchval("SELECT to_regclass('events')") is None
        assert await connection.fetchval("SELECT count(DISTINCT tableoid) FROM audit.records") in {3, 4}
    finally:
        await connection.close()
    await served(url, user, post, Event(rows[7][0], "a.b.c.v1", "/services/a", "s", NOW))


async def served(url: str, user: UUID, post: UUID, repeat: Event) -> None:
    database = Database(url, application_name="test")
    try:
        async with database.read() as connection:
            proof = await verify_audit(connection, trusted=set())
            assert proof.records == TOTAL
            records, total = await list_audit(connection, AuditQuery(user), before=None, limit=10)
            assert total == TOTAL - TOTAL // 50
            assert records[0].time == max(record.time for record in records)
            assert len((await read_timeline(connection, post_id=post, user_id=user)).items) == 1_000
        async with database.transaction() as tx:
            assert await record_events(tx, [repeat]) == [], "known by its id, as before"
            assert len(await record_events(tx, [Event(uuid7(), "a.b.c.v1", "/services/a", "s", NOW)])) == 1
        async with database.read() as connection:
            assert (await verify_audit(connection, trusted=set())).head.seq == TOTAL + 1
    finally:
        await database.stop()


async def test_the_migrations_make_the_tables_of_the_code(migrated_database: Callable[[str], Awaitable[str]]) -> None:
    database = Database(await migrated_database("analytics"), application_name="test")
    async with database.engine.connect() as connection:
        found = await connection.run_sync(differences)
    await database.stop()
    assert found == []


def differences(connection: Connection) -> list[object]:
    def wanted(name: str | None, kind: str, parents: Any) -> bool:
        return name != "public" if kind == "schema" else re.search(r"_\d{4}_\d\d$", str(name)) is None

    options = {"include_schemas": True, "include_name": wanted}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), stats_post_days.metadata))


@pytest.mark.parametrize(("role", "said"), [("nobody_of_this_name", "there is no role"), ("", "must not own its own tables")])
async def test_it_does_not_begin_without_a_role_of_fewer_rights(
    empty_database: Callable[[str], Awaitable[str]], role: str, said: str
) -> None:
    url = await empty_database("analytics_alone")
    connection = await asyncpg.connect(url)
    try:
        me = await connection.fetchval("SELECT current_user")
        with pytest.raises(RuntimeError, match=said):
            await upgrade("analytics", url, role=role or me)
        assert await connection.fetchval("SELECT to_regclass('alembic_version')") is None
    finally:
        await connection.close()
