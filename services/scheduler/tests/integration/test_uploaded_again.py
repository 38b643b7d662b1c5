"""A file whose bytes the storage lost is uploaded again: every file and post that names the old one works again."""

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import select, text

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.scheduler import DeleteMedia, PostDue, RegisterMedia
from common.ids import uuid7
from common.messaging.reply import Reply
from common.messaging.topology import EVENTS
from common.testing.amqp import broker_channel, next_message
from common.testing.eventually import eventually
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.media import thumbnail_key
from scheduler.handlers.media_commands import MediaCommands
from scheduler.probe.limits import ProbeLimits
from scheduler.probe.prober import Prober
from scheduler.storage.media import get_media
from scheduler.storage.tables import media, stored_objects
from scheduler.usecases.delete_media import delete_media
from scheduler.usecases.lost_objects import find_lost_twin

pytestmark = pytest.mark.integration

Rows = Callable[[], Awaitable[dict[str, bool]]]


class Library:
    """One user's files: uploaded, lost, and looked at in storage and database."""

    def __init__(self, world: Any, scheduler: Any, video: Path) -> None:
        self.world = world
        self.scheduler = scheduler
        self.video = video
        self.user_id = uuid7()

    async def upload(self) -> UUID:
        """Upload the video and return its id."""
        command = self.arrived()
        reply: Reply = await self.scheduler.command(command, self.user_id)
        assert reply.status == 201, reply.body
        return command.media_id

    def arrived(self) -> RegisterMedia:
        """Put the video into storage as the gateway does, and return the command that follows."""
        media_id = uuid7()
        key = self.own_key(media_id)
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.video, target)
        return RegisterMedia(
            media_id=media_id,
            storage_key=key,
            filename="a.mp4",
            content_type="video/mp4",
            size_bytes=self.video.stat().st_size,
            sha256=hashlib.sha256(self.video.read_bytes()).hexdigest(),
        )

    async def lose(self, media_id: UUID) -> None:
        """Have the storage lose a file's bytes."""
        self.path(await self.key(media_id)).unlink()

    async def delete(self, media_id: UUID) -> int:
        """Delete a file and return the status."""
        reply: Reply = await self.scheduler.command(DeleteMedia(media_id=media_id), self.user_id)
        return reply.status

    def own_key(self, media_id: UUID) -> str:
        """Return the key under which a file's bytes arrive."""
        return f"media/{self.user_id}/{media_id}"

    def path(self, key: str) -> Path:
        """Return where an object lies."""
        path: Path = self.scheduler.storage / key
        return path

    async def key(self, media_id: UUID) -> str:
        """Return the key of a file's bytes."""
        shown = await self.scheduler.get(f"/internal/media/{media_id}/objects", self.user_id)
        return str(shown.json()["storage_key"])

    async def settled_as(self, *keys: str) -> None:
        """Wait until these objects with their thumbnails, all readable, are all there is."""
        await eventually(self._rows_are(dict.fromkeys(keys, True)), timeout=60)
        root = self.path("media") / str(self.user_id)
        thumbnails = self.path("thumbnails") / str(self.user_id)
        left = {str(path.relative_to(self.scheduler.storage)) for top in (root, thumbnails) for path in top.rglob("*")}
        assert left == {*keys, *map(thumbnail_key, keys)}
        for key in keys:
            assert self.path(key).read_bytes() == self.video.read_bytes()

    def _rows_are(self, wanted: dict[str, bool]) -> Callable[[], Awaitable[bool]]:
        async def same() -> bool:
            async with self.world.database.read() as connection:
                found = await connection.execute(select(stored_objects.c.storage_key, stored_objects.c.remove_at))
                return {key: remove_at is None for key, remove_at in found} == wanted

        return same


@pytest_asyncio.fixture(loop_scope="session")
async def library(world: Any, scheduler: Any, make_video: Any) -> Library:
    return Library(world, scheduler, make_video())


async def test_a_post_on_the_old_file_is_publishable_again(world: Any, library: Library, rabbitmq_url: str) -> None:
    old = await library.upload()
    await library.lose(old)
    new = await library.upload()
    assert [await library.key(old), await library.key(new)] == [library.own_key(new)] * 2
    await library.settled_as(library.own_key(new))
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue(f"test.{uuid7()}", exclusive=True)
        await queue.bind(EVENTS.name, "scheduler.post.due.v1")
        post = await world.post(user_id=library.user_id, media_id=old)
        told = await next_message(channel, queue.name, timeout=60)
    due = PostDue.model_validate(Envelope.model_validate_json(told.body).data)
    assert due.post_id == post.id
    assert due.media is not None
    assert (due.media.media_id, due.media.storage_key) == (old, library.own_key(new))


async def test_what_is_half_there_is_lost_too(library: Library) -> None:
    old = await library.upload()
    path = library.path(library.own_key(old))
    path.write_bytes(path.read_bytes()[:-1])
    new = await library.upload()
    assert [await library.key(old), await library.key(new)] == [library.own_key(new)] * 2
    await library.settled_as(library.own_key(new))


async def test_every_file_that_shared_the_lost_bytes_has_the_new_ones(library: Library) -> None:
    first, second = await library.upload(), await library.upload()
    await library.lose(first)
    third = await library.upload()
    assert [await library.key(one) for one in (first, second, third)] == [library.own_key(third)] * 3
    assert [await library.delete(one) for one in (first, third)] == [204, 204]
    await library.settled_as(library.own_key(third))
    assert await library.delete(second) == 204
    await library.settled_as()


async def test_uploaded_again_twice_at_the_same_moment_one_object_is_kept(library: Library) -> None:
    old = await library.upload()
    await library.lose(old)
    new = await asyncio.gather(*(library.upload() for _ in range(3)))
    (key,) = {await library.key(one) for one in (old, *new)}
    assert key in {library.own_key(one) for one in new}
    await library.settled_as(key)


async def test_a_file_that_is_there_keeps_its_object(library: Library) -> None:
    old, new = await library.upload(), await library.upload()
    assert [await library.key(one) for one in (old, new)] == [library.own_key(old)] * 2
    await library.settled_as(library.own_key(old))


async def test_a_storage_that_does_not_show_the_new_bytes_either_proves_nothing(world: Any, library: Library) -> None:
    """As a folder that is not mounted: nobody may conclude from it that the old ones are lost."""
    old = await library.upload()
    new = library.arrived()
    await world.media(
        library.user_id, id=new.media_id, storage_key=new.storage_key, sha256=new.sha256, size_bytes=new.size_bytes
    )
    async with world.database.read() as connection:
        file = await get_media(connection, new.media_id, library.user_id)
    assert file is not None
    storage = ObjectStorage(f"file://{library.scheduler.storage}")
    for media_id in (old, new.media_id):
        library.path(library.own_key(media_id)).unlink()
    assert await find_lost_twin(world.database, storage, file) is None
    shutil.copy(library.video, library.path(new.storage_key))
    lost = await find_lost_twin(world.database, storage, file)
    assert lost is not None
    assert lost.storage_key == library.own_key(old)


class Held:
    """The registration of an upload, to be made step by step."""

    def __init__(self, library: Library) -> None:
        world = library.world
        storage = ObjectStorage(f"file://{library.scheduler.storage}")
        self.world = world
        self.command = library.arrived()
        context = Context(user_id=library.user_id)
        self.envelope = wrap(self.command, service="gateway", subject="x", context=context)
        self.commands = MediaCommands(world.database, world.outbox, storage, Prober(ProbeLimits()), lambda: None)
        self.prepared: Any = None

    async def prepare(self) -> None:
        """Make the look at the storage."""
        self.prepared = await self.commands.prepare(self.command, self.envelope)

    async def register(self, tx: Any) -> None:
        """Make the rest in a transaction."""
        assert (await self.commands.register(tx, self.command, self.envelope, self.prepared)).status == 201

    async def finish(self) -> None:
        """Make the rest in a transaction of its own."""
        async with self.world.database.transaction() as tx:
            await self.register(tx)


def waits_for_lock(world: Any) -> Callable[[], Awaitable[bool]]:
    async def waits() -> bool:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with world.database.read() as connection:
            return bool(await connection.scalar(text(waiting)))

    return waits


async def delete_in(tx: Any, library: Library, media_id: UUID) -> None:
    context = Context(user_id=library.user_id)
    await delete_media(tx, library.world.outbox, media_id, library.user_id, context=context)


async def test_the_old_file_is_deleted_after_the_look_at_the_storage(world: Any, library: Library) -> None:
    """The deletion has the file and is about to ask for its object, while the registration waits for that file."""
    old = await library.upload()
    await library.lose(old)
    new = Held(library)
    await new.prepare()
    async with world.database.transaction() as tx:
        await tx.connection.execute(select(media.c.id).where(media.c.id == old).with_for_update())
        finishing = asyncio.create_task(new.finish())
        await eventually(waits_for_lock(world), timeout=60)
        await delete_in(tx, library, old)
    await finishing
    assert await library.key(new.command.media_id) == new.command.storage_key
    assert await library.delete(await library.upload()) == 204  # wakes the removal
    await library.settled_as(new.command.storage_key)


async def test_the_old_file_is_deleted_while_its_object_is_replaced(world: Any, library: Library) -> None:
    """The deletion waits for the file, and must then not give up the object that the file had when it was asked for."""
    old = await library.upload()
    await library.lose(old)
    new = Held(library)
    await new.prepare()
    async with world.database.transaction() as tx:
        await new.register(tx)
        deleting = asyncio.create_task(library.delete(old))
        await eventually(waits_for_lock(world), timeout=60)
    assert await deleting == 204
    await library.settled_as(new.command.storage_key)


async def test_the_content_has_another_object_after_the_look_at_the_storage(library: Library) -> None:
    """What the look found is true of the lost object alone."""
    old = await library.upload()
    await library.lose(old)
    late = Held(library)
    await late.prepare()
    first = await library.upload()
    await late.finish()
    ids = (old, first, late.command.media_id)
    assert [await library.key(one) for one in ids] == [library.own_key(first)] * 3
    assert await library.delete(await library.upload()) == 204  # wakes the removal
    await library.settled_as(library.own_key(first))
