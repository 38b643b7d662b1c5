"""What goes by itself: files unused for long, bytes given up, objects that a crash left without a row."""

import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import select

from common.ids import uuid7
from common.messaging.topology import RETRY_TIERS
from common.testing.amqp import broker_channel
from scheduler.clients.object_storage import ObjectStorage
from scheduler.clients.waiting_registrations import WaitingRegistrations, places_to_wait
from scheduler.domain.cleanup import Cleanup
from scheduler.loops.media_cleanup import MediaCleanup
from scheduler.storage.media import get_media
from scheduler.storage.media_use import lock_unused
from scheduler.storage.stored_objects import add_object, claim_removals
from scheduler.storage.tables import media, stored_objects
from scheduler.usecases.clean_storage import Orphans, remove_objects
from scheduler.usecases.delete_media import prune_media
from scheduler.usecases.end_unjudged import Unjudged
from scheduler.usecases.register_media import is_unchecked

pytestmark = pytest.mark.integration

DAYS = timedelta(days=1)


@pytest_asyncio.fixture(loop_scope="session")
async def rows(world: Any) -> Callable[[], Awaitable[dict[str, bool]]]:
    async def found() -> dict[str, bool]:
        async with world.database.read() as connection:
            objects = await connection.execute(select(stored_objects.c.storage_key, stored_objects.c.remove_at))
            return {key: remove_at is None for key, remove_at in objects}

    return found


async def prune(world: Any, days: int) -> int:
    async with world.database.transaction() as tx:
        return await prune_media(tx, world.outbox, unused_for=timedelta(days=days))


async def test_unused_files_are_pruned(world: Any) -> None:
    user_id = uuid7()
    old = "now() - interval '10 days'"

    async def file(**fields: Any) -> UUID:
        media_id: UUID = await world.media(user_id, storage_key=f"media/{uuid7()}", **fields)
        await world.execute(f"UPDATE media SET created_at = {old} WHERE id = :id", id=media_id)
        return media_id

    async def post(media_id: UUID, status: str, *, fresh: bool = False) -> None:
        made = await world.post(user_id=user_id, media_id=media_id, status=status)
        if not fresh:
            await world.execute(f"UPDATE posts SET updated_at = {old} WHERE id = :id", id=made.id)

    unused, rejected, ended = await file(), await file(status="rejected"), await file()
    waiting, drafted, recently, processing = await file(), await file(), await file(), await file(status="processing")
    fresh = await world.media(user_id)
    await post(ended, "published")
    await post(waiting, "scheduled")
    await post(drafted, "draft")
    await post(recently, "published", fresh=True)
    assert await prune(world, 11) == 0
    assert await prune(world, 9) == 3
    assert await prune(world, 9) == 0
    async with world.database.read() as connection:
        left = set(await connection.scalars(select(media.c.id).where(media.c.deleted_at.is_(None))))
    assert left == {waiting, drafted, recently, processing, fresh}
    told = await world.told()
    assert {(one.key, one.data["media_id"], one.data["reason"]) for one in told} == {
        ("scheduler.media.deleted.v1", str(gone), "pruned") for gone in (unused, rejected, ended)
    }
    assert {(one.userid, one.subject) for one in told} == {(user_id, str(gone)) for gone in (unused, rejected, ended)}


async def test_pruning_leaves_a_file_that_a_post_is_taking(world: Any) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id)
    await world.execute("UPDATE media SET created_at = now() - interval '10 days'")
    async with world.database.transaction() as tx:
        await tx.connection.execute(select(media.c.id).where(media.c.id == media_id).with_for_update(read=True))
        assert await prune(world, 9) == 0
    await world.post(user_id=user_id, media_id=media_id)
    assert await prune(world, 9) == 0


async def test_a_post_that_came_while_the_lock_was_taken_is_seen(world: Any) -> None:
    """It was committed after the choice was made and before the lock was had: the choice alone would not show it."""
    user_id = uuid7()
    media_id = await world.media(user_id)
    await world.execute("UPDATE media SET created_at = now() - interval '10 days'")

    class Meanwhile:
        def __init__(self, connection: Any) -> None:
            self.execute = connection.execute
            self._scalars = connection.scalars

        async def scalars(self, statement: Any) -> Any:
            chosen = await self._scalars(statement)
            await world.post(user_id=user_id, media_id=media_id)
            return chosen

    async with world.database.transaction() as tx:
        assert await lock_unused(Meanwhile(tx.connection), older_than=timedelta(days=9), limit=10) == []


async def test_the_loop_prunes_what_is_unused(world: Any, tmp_path: Path) -> None:
    media_id = await world.media(uuid7(), command_id=uuid7())
    await world.execute("UPDATE media SET created_at = now() - interval '10 days'")

    async def quiet() -> bool:
        return True

    async def left() -> list[Any]:
        async with world.database.read() as connection:
            return list(await connection.execute(select(media.c.command_id, media.c.deleted_at).where(media.c.id == media_id)))

    storage = ObjectStorage(f"file://{tmp_path}")
    for days, pruned in ((None, 0), (11, 0), (9, 1), (9, 0)):
        unused_for = None if days is None else timedelta(days=days)
        rules = Cleanup(unused_for=unused_for, orphan_grace=DAYS, reply_retention=timedelta(days=7))
        cleanup = MediaCleanup(world.database, world.outbox, storage, rules, quiet)
        assert (await cleanup.prune()).done == pruned
    ((command_id, deleted_at),) = await left()
    assert command_id is None, "the id of the upload is forgotten with the replies"
    assert deleted_at is not None


async def test_removal_is_tried_again_while_the_storage_is_away(world: Any, tmp_path: Path, rows: Any) -> None:
    user_id = uuid7()
    storage = ObjectStorage(f"file://{tmp_path}/gone")
    async with world.database.transaction() as tx:
        await add_object(tx.connection, "media/a", user_id)
    await world.execute("UPDATE stored_objects SET remove_at = now()")
    taken, next_in = await remove_objects(world.database, storage)
    assert taken == 1
    assert next_in is not None
    assert 5 < next_in <= 10
    assert (await remove_objects(world.database, storage))[0] == 0
    for tries, least, most in ((2, 15, 20), (30, 3500, 3600)):
        await world.execute("UPDATE stored_objects SET remove_at = now(), tries = :tries", tries=tries - 1)
        _, next_in = await remove_objects(world.database, storage)
        assert next_in is not None
        assert least < next_in <= most
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "media").mkdir()
    (tmp_path / "gone" / "media" / "a").write_text("x")
    await world.execute("UPDATE stored_objects SET remove_at = now()")
    assert await remove_objects(world.database, storage) == (1, None)
    assert (await rows(), list((tmp_path / "gone" / "media").iterdir())) == ({}, [])


async def test_replicas_remove_different_objects(world: Any) -> None:
    async with world.database.transaction() as tx:
        for number in range(4):
            await add_object(tx.connection, f"media/{number}", uuid7())
    await world.execute("UPDATE stored_objects SET remove_at = now()")
    pause = {"first_retry": timedelta(seconds=10), "longest_retry": timedelta(hours=1)}
    async with world.database.transaction() as one, world.database.transaction() as other:
        first = await claim_removals(one.connection, batch=2, **pause)
        second = await claim_removals(other.connection, batch=10, **pause)
    assert (len(first), len(second), set(first) & set(second)) == (2, 2, set())


def put(folder: Path, *keys: str, age: timedelta = timedelta(0)) -> None:
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        moment = time.time() - age.total_seconds()
        os.utime(path, (moment, moment))


def left_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_objects_without_a_row_are_removed_once_watched_for_long(world: Any, tmp_path: Path) -> None:
    storage = ObjectStorage(f"file://{tmp_path}")
    put(tmp_path, "media/u/orphan", "thumbnails/u/orphan", "media/u/known", "thumbnails/u/known", age=2 * DAYS)
    put(tmp_path, "media/u/young", "uploads/tmp/other")
    async with world.database.transaction() as tx:
        await add_object(tx.connection, "media/u/known", uuid7())
    orphans = Orphans(world.database, storage, grace=DAYS, watch=100)
    assert [list(await orphans.look(now)) for now in (0.0, 99.0)] == [[], []]
    late = await orphans.look(100.0)
    assert set(late) == {"media/u/orphan", "thumbnails/u/orphan"}
    async with world.database.transaction() as tx:
        await add_object(tx.connection, "media/u/orphan", uuid7())
    assert await orphans.remove(late) == 0
    await world.execute("DELETE FROM stored_objects WHERE storage_key = 'media/u/orphan'")
    assert await orphans.remove(late) == 2
    assert left_in(tmp_path) == {"media/u/known", "thumbnails/u/known", "media/u/young", "uploads/tmp/other"}
    assert await orphans.look(1000.0) == []


async def test_what_was_cut_short_is_ended_once_no_registration_waits(world: Any, tmp_path: Path) -> None:
    """An object without a row, and a file without a verdict: whoever would have told of its dead letter was killed first."""
    put(tmp_path, "media/u/orphan", age=2 * DAYS)
    user_id = uuid7()
    unjudged = await world.media(user_id, status="processing", command_id=uuid7())
    quiet = [False, False, True]
    asked: list[bool] = []

    async def none_waits() -> bool:
        asked.append(quiet[len(asked)])
        return asked[-1]

    rules = Cleanup(unused_for=None, orphan_grace=DAYS, reply_retention=DAYS, orphan_watch=0.0)
    cleanup = MediaCleanup(world.database, world.outbox, ObjectStorage(f"file://{tmp_path}"), rules, none_waits)
    done = [(await cleanup.remove_orphans()).done for _ in range(4)]
    assert (done, asked) == ([0, 0, 2, 0], quiet)
    async with world.database.read() as connection:
        file = await get_media(connection, unjudged, user_id)
    assert (file.status, is_unchecked(file)) == ("rejected", True)
    (told,) = await world.told()
    assert (told.key, told.userid, told.subject) == ("scheduler.media.rejected.v1", user_id, str(unjudged))
    later = Unjudged(world.database, world.outbox, watch=100)
    watched = (await world.media(user_id, status="processing", command_id=uuid7()), user_id)
    assert [list(await later.look(now)) for now in (5.0, 104.0, 105.0)] == [[], [], [watched]]
    later.begin_anew()
    assert [list(await later.look(now)) for now in (106.0, 205.0, 206.0)] == [[], [], [watched]]
    assert (await cleanup.prune()).done == 0


async def test_whether_a_registration_waits_is_asked_of_the_broker(rabbitmq_url: str) -> None:
    names = [f"test.registrations.{uuid4().hex}" for _ in range(2)]
    waiting = WaitingRegistrations(SecretStr(rabbitmq_url), queues=names)
    assert await waiting.none() is False
    async with broker_channel(rabbitmq_url) as channel:
        for name in names:
            await channel.declare_queue(name, auto_delete=True)
        assert await waiting.none() is True
        await channel.default_exchange.publish(aio_pika.Message(b"x"), routing_key=names[1])
        assert await waiting.none() is False
        for name in names:
            await channel.queue_delete(name)
    away = WaitingRegistrations(SecretStr("amqp://127.0.0.1:1/"), queues=names)
    assert await away.none() is False
    assert places_to_wait("q") == ("q", *(tier.queue.name for tier in RETRY_TIERS))
