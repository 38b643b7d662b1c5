"""Registering media over real RabbitMQ with real videos; the probe against hostile ones."""

import os
import shutil
import struct
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.scheduler import RegisterMedia
from common.errors import Problem, Transient
from common.ids import uuid7
from common.messaging.incoming import ATTEMPT_HEADER
from common.messaging.publisher import Outgoing
from common.messaging.reply import Reply
from common.testing.eventually import eventually
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.media import Media
from scheduler.handlers.media_commands import TURN_WITHIN, MediaCommands
from scheduler.probe.limits import ProbeLimits
from scheduler.probe.prober import Prober
from scheduler.storage.media import get_media
from scheduler.usecases.register_media import note_upload

pytestmark = pytest.mark.integration


def _store(path: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    shutil.copy(path, target)


async def register(scheduler: Any, user_id: UUID, path: Path | None, media_id: UUID | None = None, **fields: Any) -> Reply:
    key = f"{user_id}/{path.name if path is not None else 'nothing'}"
    if path is not None:
        _store(path, scheduler.storage / key)
    message = RegisterMedia(
        media_id=media_id or uuid7(),
        storage_key=fields.pop("storage_key", key),
        filename=path.name if path is not None else "nothing",
        content_type="video/mp4",
        size_bytes=os.stat(path).st_size if path is not None else 1,  # noqa: PTH116 - a blocking stat is fine here
        sha256="cd" * 32,
    )
    reply: Reply = await scheduler.command(message, user_id, **fields)
    return reply


async def test_a_good_video_is_ready(world: Any, scheduler: Any, make_video: Any) -> None:
    user_id, path = uuid7(), make_video()
    reply = await register(scheduler, user_id, path)
    assert reply.status == 201, reply.body
    assert reply.body is not None
    media_id = reply.body.pop("id")
    assert reply.headers == {"Location": f"/api/v1/media/{media_id}"}
    created_at = reply.body.pop("created_at")
    assert reply.body == {
        "status": "ready",
        "filename": "good.mp4",
        "content_type": "video/mp4",
        "size_bytes": path.stat().st_size,
        "sha256": "cd" * 32,
        "duration_ms": 1000,
        "width": 360,
        "height": 640,
        "fps": 30.0,
        "video_codec": "h264",
        "problems": [],
    }
    shown = await scheduler.get(f"/internal/media/{media_id}", user_id)
    assert shown.json() == {"id": media_id, **reply.body, "created_at": created_at}
    assert (await scheduler.get(f"/internal/media/{media_id}", uuid7())).status_code == 404


async def test_broken_rules_are_all_named(scheduler: Any, make_video: Any) -> None:
    user_id = uuid7()
    reply = await register(scheduler, user_id, make_video("bad.mp4", width=320, height=240, fps=15))
    assert reply.body is not None
    assert (reply.status, reply.body["code"]) == (422, "media_rejected")
    assert [(item["code"], item["found"], item["allowed"]) for item in reply.body["errors"]] == [
        ("picture_too_small", "320 px", "360-4096 px"),
        ("picture_too_small", "240 px", "360-4096 px"),
        ("frame_rate_not_allowed", "15 fps", "23-60 fps"),
    ]
    shown = (await scheduler.get(f"/internal/media/{reply.body['media_id']}", user_id)).json()
    assert (shown["status"], shown["fps"]) == ("rejected", 15.0)
    assert shown["problems"] == reply.body["errors"]
    (listed,) = (await scheduler.get("/internal/media?status=rejected", user_id)).json()["items"]
    assert listed == shown


async def test_the_same_upload_twice_is_one_file(world: Any, scheduler: Any, make_video: Any) -> None:
    user_id, path, media_id, command_id = uuid7(), make_video(), uuid7(), uuid7()
    first = await register(scheduler, user_id, path, media_id, command_id=command_id)
    again = await register(scheduler, user_id, path, media_id, command_id=command_id)
    anew = await register(scheduler, user_id, path, media_id)
    assert first == again == anew
    page = (await scheduler.get("/internal/media", user_id)).json()
    assert ([item["id"] for item in page["items"]], page["total"]) == ([str(media_id)], 1)


async def test_another_users_id_is_not_found(scheduler: Any, make_video: Any) -> None:
    path, media_id = make_video(), uuid7()
    assert (await register(scheduler, uuid7(), path, media_id)).status == 201
    assert (await register(scheduler, uuid7(), path, media_id)).status == 404


async def test_a_file_that_claims_weeks_is_rejected(scheduler: Any, make_video: Any) -> None:
    """More milliseconds than 32 bits hold: what a file says of itself must not stop its registration."""
    user_id, path = uuid7(), make_video("long.webm", codec="libvpx")
    content = bytearray(path.read_bytes())
    at = content.find(b"\x44\x89\x88") + 3
    content[at : at + 8] = struct.pack(">d", 3e9)
    path.write_bytes(content)
    reply = await register(scheduler, user_id, path)
    assert reply.body is not None
    assert (reply.status, "video_too_long" in [item["code"] for item in reply.body["errors"]]) == (422, True)
    shown = (await scheduler.get(f"/internal/media/{reply.body['media_id']}", user_id)).json()
    assert (shown["status"], shown["duration_ms"]) == ("rejected", 3_000_000_000)


async def test_a_dead_registration_rejects_the_file(
    world: Any, make_video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage away for too long, or a fault of ours: a post on the file must not be told `media_not_ready` for ever."""
    user_id, media_id = uuid7(), uuid7()
    message = RegisterMedia(
        media_id=media_id,
        storage_key="a",
        filename="a.mp4",
        content_type="video/mp4",
        size_bytes=1,
        sha256="cd" * 32,
    )
    envelope = wrap(message, service="gateway", subject="x", context=Context(user_id=user_id))
    storage = ObjectStorage(f"file://{tmp_path}/gone")
    prober = Prober(ProbeLimits())
    commands = MediaCommands(world.database, world.outbox, storage, prober, lambda: None)
    with pytest.raises(Transient) as away:
        await commands.prepare(message, envelope)
    assert away.value.until is None
    # Without a place it is tried for longer than what is wrong.
    monkeypatch.setattr("scheduler.probe.prober.PATIENCE_S", 0)
    async with prober.turn(user_id), prober.turn(user_id):
        with pytest.raises(Transient) as crowded:
            await commands.prepare(message, envelope)
    assert (crowded.value.until, crowded.value.at_most) == (envelope.time + TURN_WITHIN, 30.0)
    for _ in range(2):
        await commands.on_dead(envelope)
    async with world.database.read() as connection:
        media = await get_media(connection, media_id, user_id)
    assert media is not None
    assert (media.status, [item["code"] for item in media.problems]) == ("rejected", ["check_failed"])
    (told,) = await world.told()
    assert (told.key, told.userid) == ("scheduler.media.rejected.v1", user_id)
    (tmp_path / "gone").mkdir()
    shutil.copy(make_video(), tmp_path / "gone" / "a")
    verdict = await commands.prepare(message, envelope)
    async with world.database.transaction() as tx:
        assert (await commands.register(tx, message, envelope, verdict)).status == 201


async def test_a_user_stores_no_more_bytes_than_allowed(world: Any) -> None:
    """Counted are bytes that are kept, once each; what was noted before, or is kept already, needs no room."""
    user_id = uuid7()

    async def note(size_bytes: int, sha256: str, of: UUID = user_id, command_id: UUID | None = None) -> Media:
        media_id = uuid7()
        message = RegisterMedia(
            media_id=media_id,
            storage_key=f"media/{media_id}",
            filename="a.mp4",
            content_type="video/mp4",
            size_bytes=size_bytes,
            sha256=sha256,
        )
        return await note_upload(world.database, message, command_id or uuid7(), of, allowed_bytes=100)

    first, command_id = await note(60, "aa" * 32), uuid7()
    with pytest.raises(Problem) as refused:
        await note(41, "bb" * 32)
    assert (refused.value.status, refused.value.code) == (413, "media_quota_exceeded")
    assert refused.value.extra == {"found": "60 bytes stored and 41 bytes uploaded", "allowed": "<= 100 bytes"}
    assert (await note(100, "bb" * 32, of=uuid7())).status == "processing"
    second = await note(40, "bb" * 32, command_id=command_id)
    assert await note(40, "bb" * 32, command_id=command_id) == second
    kept = "UPDATE stored_objects SET sha256 = :sha256 WHERE storage_key = :key"
    await world.execute(kept, sha256=first.sha256, key=first.storage_key)
    twin = await note(60, first.sha256)
    await world.execute("UPDATE media SET storage_key = :key WHERE id = :id", key=first.storage_key, id=twin.id)
    await world.execute("UPDATE stored_objects SET remove_at = now() WHERE storage_key = :key", key=second.storage_key)
    assert (await note(40, "cc" * 32)).status == "processing"


async def test_a_dead_registration_leaves_a_judged_file_alone(world: Any, tmp_path: Path) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id)
    message = RegisterMedia(
        media_id=media_id, storage_key="a", filename="a", content_type="video/mp4", size_bytes=1, sha256="cd" * 32
    )
    storage = ObjectStorage(f"file://{tmp_path}")
    commands = MediaCommands(world.database, world.outbox, storage, Prober(ProbeLimits()), lambda: None)
    await commands.on_dead(wrap(message, service="gateway", subject="x", context=Context(user_id=user_id)))
    async with world.database.read() as connection:
        media = await get_media(connection, media_id, user_id)
    assert media is not None
    assert media.status == "ready"
    assert await world.told() == []


async def test_a_registration_that_dies_on_its_queue_rejects_the_file(world: Any, scheduler: Any) -> None:
    """A name that cannot be stored kills the registration at its last try, and the file is told of."""
    user_id, media_id = uuid7(), uuid7()
    await world.media(user_id, id=media_id, status="processing")
    message = RegisterMedia(
        media_id=media_id, storage_key="a", filename="a\x00", content_type="video/mp4", size_bytes=1, sha256="cd" * 32
    )
    envelope = wrap(message, service="gateway", subject="x", context=Context(user_id=user_id))
    last_try = Outgoing(envelope.to_bytes(), routing_key="scheduler.media", headers={ATTEMPT_HEADER: 5}, mandatory=True)
    await scheduler.publisher.publish(last_try)

    async def rejected() -> bool:
        return bool((await scheduler.get(f"/internal/media/{media_id}", user_id)).json()["status"] == "rejected")

    await eventually(rejected)
    operation = await eventually(lambda: scheduler.get(f"/internal/operations/{envelope.id}", user_id))
    assert "command_failed" in operation.text


@pytest.mark.parametrize("key", ["nothing/here", "../../etc/passwd", "/etc/passwd", ""])
async def test_a_file_that_is_not_there(scheduler: Any, key: str) -> None:
    reply = await register(scheduler, uuid7(), None, storage_key=key)
    assert reply.body is not None
    assert (reply.status, [item["code"] for item in reply.body["errors"]]) == (422, ["file_missing"])
