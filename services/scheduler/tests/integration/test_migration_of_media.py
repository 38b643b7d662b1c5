"""Migration 0003 on a database with data: every file keeps its bytes, one object of each content can be shared."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from common.database.database import Database
from common.database.migrate import upgrade
from common.ids import uuid7
from scheduler.storage.stored_objects import release_object, share_object
from scheduler.storage.tables import metadata

pytestmark = pytest.mark.integration

INSERT = """
INSERT INTO media (id, user_id, status, filename, content_type, size_bytes, sha256, storage_key, deleted_at)
VALUES ($1, $2, $3, 'a', 'video/mp4', 1, $4, $5, CASE WHEN $6 THEN now() END)
"""


async def test_files_of_before(empty_database: Callable[[str], Awaitable[str]]) -> None:
    url = await empty_database("media_before")
    await upgrade("scheduler", url, "0004")
    user, other = uuid7(), uuid7()
    connection = await asyncpg.connect(url)

    async def file(key: str, owner: UUID = user, status: str = "ready", sha: str = "aa", *, deleted: bool = False) -> None:
        await connection.execute(INSERT, uuid7(), owner, status, sha, key, deleted)

    try:
        await file("first")
        await file("twin")
        await file("theirs", other)
        await file("single", sha="bb")
        await file("refused", status="rejected")
        await file("checking", status="processing")
        await file("gone", sha="cc", deleted=True)
        await upgrade("scheduler", url)
        rows = await connection.fetch("SELECT storage_key, sha256, user_id, remove_at FROM stored_objects")
    finally:
        await connection.close()
    assert {row["storage_key"]: row["sha256"] for row in rows} == {
        "first": "aa",
        "twin": None,
        "theirs": "aa",
        "single": "bb",
        "refused": None,
        "checking": None,
    }
    assert [row["remove_at"] for row in rows] == [None] * 6
    database = Database(url, application_name="test")
    try:
        async with database.transaction() as tx:
            assert await share_object(tx.connection, "checking", user, "aa", has_thumbnail=True) == "first"
            assert await release_object(tx.connection, "twin") is False
            assert await release_object(tx.connection, "unheard of") is False
        async with database.engine.connect() as checked:
            assert await checked.run_sync(differences) == []
    finally:
        await database.stop()


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))
