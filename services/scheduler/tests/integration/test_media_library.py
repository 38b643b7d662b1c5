"""The media library: identical files share bytes, deleting, races with posts, lists."""

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
from common.contracts.scheduler import CreatePost, DeleteMedia, RegisterMedia
from common.errors import Problem
from common.ids import uuid7
from common.messaging.reply import Reply
from common.testing.eventually import eventually
from scheduler.domain.media import thumbnail_key
from scheduler.storage.tables import media, stored_objects
from scheduler.usecases.delete_media import delete_media

pytestmark = pytest.mark.integration


@pytest.fixture
def files(scheduler: Any) -> Callable[[], set[str]]:
    def found() -> set[str]:
        root: Path = scheduler.storage
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    shutil.rmtree(scheduler.storage)
    scheduler.storage.mkdir()
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def rows(world: Any) -> Callable[[], Awaitable[dict[str, bool]]]:
    async def found() -> dict[str, bool]:
        async with world.database.read() as connection:
            objects = await connection.execute(select(stored_objects.c.storage_key, stored_objects.c.remove_at))
            return {key: remove_at is None for key, remove_at in objects}

    return found


def command_of(scheduler: Any, user_id: UUID, path: Path, *, filename: str = "a.mp4") -> RegisterMedia:
    """Put a file into storage as the gateway does, and return the command that follows."""
    media_id = uuid7()
    target = scheduler.storage / "media" / str(user_id) / str(media_id)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    return RegisterMedia(
        media_id=media_id,
        storage_key=f"media/{user_id}/{media_id}",
        filename=filename,
        content_type="video/mp4",
        size_bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


async def upload(scheduler: Any, user_id: UUID, path: Path, **fields: Any) -> Reply:
    reply: Reply = await scheduler.command(command_of(scheduler, user_id, path), user_id, **fields)
    return reply


async def delete(scheduler: Any, user_id: UUID, media_id: str | UUID) -> Reply:
    reply: Reply = await scheduler.command(DeleteMedia(media_id=UUID(str(media_id))), user_id)
    return reply


def body(reply: Reply) -> dict[str, Any]:
    assert reply.body is not None
    return reply.body


async def test_a_file_comes_with_a_thumbnail_and_goes_with_it(
    world: Any, scheduler: Any, files: Any, rows: Any, make_video: Any
) -> None:
    user_id = uuid7()
    media_id = body(await upload(scheduler, user_id, make_video()))["id"]
    shown = (await scheduler.get(f"/internal/media/{media_id}/objects", user_id)).json()
    key = f"media/{user_id}/{media_id}"
    assert (shown["storage_key"], shown["thumbnail_key"]) == (key, thumbnail_key(key))
    assert files() == {key, thumbnail_key(key)}
    assert (scheduler.storage / shown["thumbnail_key"]).read_bytes()[:3] == b"\xff\xd8\xff"
    assert (await scheduler.get(f"/internal/media/{media_id}/objects", uuid7())).status_code == 404
    assert (await delete(scheduler, uuid7(), media_id)).status == 404
    assert (await delete(scheduler, user_id, media_id)).status == 204
    await eventually(lambda: files() == set())
    await eventually(rows_are(rows, {}))
    for path in (f"/internal/media/{media_id}", f"/internal/media/{media_id}/objects"):
        assert (await scheduler.get(path, user_id)).status_code == 404
    assert (await delete(scheduler, user_id, media_id)).status == 404
    assert (await scheduler.get("/internal/media", user_id)).json()["total"] == 0


def rows_are(rows: Any, wanted: dict[str, bool]) -> Callable[[], Awaitable[bool]]:
    async def same() -> bool:
        return bool(await rows() == wanted)

    return same


async def test_identical_bytes_of_a_user_are_stored_once(scheduler: Any, files: Any, make_video: Any) -> None:
    user_id, other, path = uuid7(), uuid7(), make_video()
    first, second = [body(await upload(scheduler, user_id, path))["id"] for _ in range(2)]
    theirs = body(await upload(scheduler, other, path))["id"]
    keys = [f"media/{user_id}/{first}", f"media/{other}/{theirs}"]
    await eventually(lambda: files() == {*keys, *map(thumbnail_key, keys)})
    assert first != second
    for media_id in (first, second):
        shown = (await scheduler.get(f"/internal/media/{media_id}/objects", user_id)).json()
        assert (shown["storage_key"], shown["thumbnail_key"]) == (keys[0], thumbnail_key(keys[0]))
    assert (await delete(scheduler, user_id, first)).status == 204
    third = body(await upload(scheduler, user_id, path))["id"]
    await eventually(lambda: files() == {*keys, *map(thumbnail_key, keys)})
    for media_id in (second, third):
        assert keys[0] in files()
        assert (await delete(scheduler, user_id, media_id)).status == 204
    await eventually(lambda: files() == {keys[1], thumbnail_key(keys[1])})
    fourth = body(await upload(scheduler, user_id, path))["id"]
    assert f"media/{user_id}/{fourth}" in files()


async def test_identical_uploads_at_the_same_moment_are_stored_once(scheduler: Any, files: Any, make_video: Any) -> None:
    user_id, path = uuid7(), make_video()
    replies = await asyncio.gather(*(upload(scheduler, user_id, path) for _ in range(4)))
    ids = {body(reply)["id"] for reply in replies}
    assert ([reply.status for reply in replies], len(ids)) == ([201] * 4, 4)
    await eventually(lambda: len(files()) == 2)
    shown = [(await scheduler.get(f"/internal/media/{media_id}/objects", user_id)).json() for media_id in ids]
    assert len({one["storage_key"] for one in shown}) == 1
    assert shown[0]["storage_key"] in files()


async def test_sharing_and_deleting_at_the_same_moment(world: Any, scheduler: Any, files: Any, make_video: Any) -> None:
    """Whichever comes first: a file that is there afterwards has its bytes."""
    user_id, path = uuid7(), make_video()
    current = body(await upload(scheduler, user_id, path))["id"]
    for _ in range(4):
        gone, came = await asyncio.gather(delete(scheduler, user_id, current), upload(scheduler, user_id, path))
        assert (gone.status, came.status) == (204, 201)
        current = body(came)["id"]
        key = (await scheduler.get(f"/internal/media/{current}/objects", user_id)).json()["storage_key"]
        await eventually(lambda key=key: files() == {key, thumbnail_key(key)})


async def test_one_key_twice_at_the_same_moment_is_one_file(world: Any, scheduler: Any, files: Any, make_video: Any) -> None:
    user_id, path, key = uuid7(), make_video(), uuid7()
    commands = [command_of(scheduler, user_id, path) for _ in range(3)]
    replies = await asyncio.gather(*(scheduler.command(one, user_id, command_id=key) for one in commands))
    assert {reply.status for reply in replies} == {201}
    assert len({body(reply)["id"] for reply in replies}) == 1
    page = (await scheduler.get("/internal/media", user_id)).json()
    assert [(item["id"], item["status"]) for item in page["items"]] == [(body(replies[0])["id"], "ready")]
    shown = (await scheduler.get(f"/internal/media/{page['items'][0]['id']}/objects", user_id)).json()
    assert shown["storage_key"] == f"media/{user_id}/{page['items'][0]['id']}"


async def test_one_key_with_other_bytes_is_refused_even_while_the_first_runs(
    scheduler: Any, files: Any, make_video: Any
) -> None:
    user_id, key = uuid7(), uuid7()
    paths = [make_video(f"{number}.mp4", fps=24 + number) for number in range(2)]
    replies = await asyncio.gather(
        *(scheduler.command(command_of(scheduler, user_id, path), user_id, command_id=key, body=path.name) for path in paths)
    )
    assert sorted(reply.status for reply in replies) == [201, 422]
    (refused,) = [reply for reply in replies if reply.status == 422]
    assert body(refused)["code"] == "idempotency_key_reused"
    assert (await scheduler.get("/internal/media", user_id)).json()["total"] == 1


async def test_a_rejected_file_keeps_no_bytes(scheduler: Any, files: Any, make_video: Any) -> None:
    user_id = uuid7()
    reply = await upload(scheduler, user_id, make_video(width=64, height=64))
    assert reply.status == 422
    await eventually(lambda: files() == set())
    assert (await delete(scheduler, user_id, body(reply)["media_id"])).status == 204


@pytest.mark.parametrize("status", ["draft", "scheduled", "retry_scheduled", "due", "publishing", "deferred", "processing"])
async def test_a_file_that_a_post_needs_stays(world: Any, scheduler: Any, status: str) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id)
    post = await world.post(user_id=user_id, media_id=media_id, status=status, next_attempt_at=None)
    reply = await delete(scheduler, user_id, media_id)
    assert (reply.status, body(reply)["code"], body(reply)["post_ids"]) == (409, "media_in_use", [str(post.id)])
    assert (await scheduler.get(f"/internal/media/{media_id}", user_id)).status_code == 200


@pytest.mark.parametrize("status", ["published", "failed", "cancelled", "unconfirmed"])
async def test_a_file_of_an_ended_post_goes(world: Any, scheduler: Any, status: str) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id)
    await world.post(user_id=user_id, media_id=media_id, status=status)
    assert (await delete(scheduler, user_id, media_id)).status == 204


async def test_a_file_being_checked_is_not_deleted_yet(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id, status="processing")
    reply = await delete(scheduler, user_id, media_id)
    assert (reply.status, body(reply)["code"], reply.headers["Retry-After"]) == (409, "media_not_ready", "1")


async def test_deleting_races_with_a_post(world: Any, scheduler: Any) -> None:
    """Either the post has its file, or it was told that there is none: never both done, never neither."""
    user_id = uuid7()
    account = await world.account(user_id)
    outcomes = set()
    for _ in range(8):
        media_id = await world.media(user_id, sha256=uuid7().hex * 2)
        wanted = CreatePost(
            tiktok_account_id=account.id,
            caption="x",
            privacy_level="SELF_ONLY",
            media_id=media_id,
            scheduled_time="2036-01-01T00:00:00Z",
        )
        created, deleted = await asyncio.gather(
            scheduler.command(wanted, user_id), scheduler.command(DeleteMedia(media_id=media_id), user_id)
        )
        outcomes.add((created.status, deleted.status))
    assert outcomes <= {(201, 409), (404, 204)}, outcomes


async def test_a_delete_waits_for_a_post_under_way(world: Any) -> None:
    """The same, held at the very moment: the post has the file's lock and commits while the delete waits."""
    user_id = uuid7()
    media_id = await world.media(user_id)

    async def remove() -> None:
        async with world.database.transaction() as tx:
            await delete_media(tx, world.outbox, media_id, user_id, context=Context(user_id=user_id))

    async with world.database.transaction() as tx:
        await tx.connection.execute(select(media.c.id).where(media.c.id == media_id).with_for_update(read=True))
        removing = asyncio.create_task(remove())
        await eventually(waits_for_lock(world))
        await world.post(user_id=user_id, media_id=media_id)
    with pytest.raises(Problem, match="media_in_use"):
        await removing


def waits_for_lock(world: Any) -> Callable[[], Awaitable[bool]]:
    async def waits() -> bool:
        async with world.database.read() as connection:
            waiting = text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(await connection.scalar(waiting))

    return waits


async def test_the_list_is_filtered_and_paged(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    videos = [await world.media(user_id) for _ in range(3)]
    photo = await world.media(user_id, content_type="image/webp", status="rejected")

    async def ids(query: str) -> list[str]:
        return [item["id"] for item in (await scheduler.get(f"/internal/media?{query}", user_id)).json()["items"]]

    newest_first = [str(one) for one in reversed(videos)]
    assert await ids("kind=video") == newest_first
    assert await ids("kind=photo") == await ids("status=rejected") == [str(photo)]
    assert await ids("kind=photo&status=ready") == []
    page = (await scheduler.get("/internal/media?kind=video&limit=2", user_id)).json()
    await world.media(user_id)
    assert (await delete(scheduler, user_id, page["items"][0]["id"])).status == 204
    rest = (await scheduler.get(f"/internal/media?kind=video&limit=2&cursor={page['cursor']}", user_id)).json()
    assert [item["id"] for item in (*page["items"], *rest["items"])] == newest_first
    for wrong in ("kind=x", "status=x", "limit=0", "limit=101", "cursor=x"):
        assert (await scheduler.get(f"/internal/media?{wrong}", user_id)).status_code == 422, wrong
