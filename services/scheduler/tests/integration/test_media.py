"""Registering media over real RabbitMQ with real videos; the probe against hostile ones."""

import asyncio
import json
import os
import shutil
import struct
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import obstore
import psutil
import pytest
from obstore.store import MemoryStore, S3Store

from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.scheduler import RegisterMedia
from common.errors import Transient
from common.ids import uuid7
from common.messaging.incoming import ATTEMPT_HEADER
from common.messaging.publisher import Outgoing
from common.messaging.reply import Reply
from common.testing.eventually import eventually
from scheduler.clients.object_storage import ObjectMissing, ObjectStorage
from scheduler.domain.media_rules import MediaProblem, VideoFacts
from scheduler.handlers.media_commands import MediaCommands
from scheduler.probe.child import look_into
from scheduler.probe.limits import ProbeLimits
from scheduler.probe.prober import Prober
from scheduler.storage.media import get_media

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


async def test_a_dead_registration_rejects_the_file(world: Any, make_video: Any, tmp_path: Path) -> None:
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
    commands = MediaCommands(world.database, world.outbox, ObjectStorage(f"file://{tmp_path}/gone"), Prober(ProbeLimits()))
    with pytest.raises(Transient):
        await commands.prepare(message, envelope)
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


async def test_a_dead_registration_leaves_a_judged_file_alone(world: Any, tmp_path: Path) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id)
    message = RegisterMedia(
        media_id=media_id, storage_key="a", filename="a", content_type="video/mp4", size_bytes=1, sha256="cd" * 32
    )
    commands = MediaCommands(world.database, world.outbox, ObjectStorage(f"file://{tmp_path}"), Prober(ProbeLimits()))
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

    await eventually(rejected, timeout=5)
    operation = await eventually(lambda: scheduler.get(f"/internal/operations/{envelope.id}", user_id), timeout=5)
    assert "command_failed" in operation.text


@pytest.mark.parametrize("key", ["nothing/here", "../../etc/passwd", "/etc/passwd", ""])
async def test_a_file_that_is_not_there(scheduler: Any, key: str) -> None:
    reply = await register(scheduler, uuid7(), None, storage_key=key)
    assert reply.body is not None
    assert (reply.status, [item["code"] for item in reply.body["errors"]]) == (422, ["file_missing"])


async def probe(path: Path, **limits: Any) -> VideoFacts | MediaProblem:
    return await Prober(ProbeLimits(**limits)).probe(path)


@pytest.mark.parametrize(
    ("name", "codec", "container", "found"),
    [
        ("a.mp4", "libx264", "mp4", "h264"),
        ("a.mov", "libx264", "mov", "h264"),
        ("a.webm", "libvpx", "webm", "vp8"),
        ("a.mkv", "libx264", "matroska", "h264"),
        ("a.mp4", "mpeg4", "mp4", "mpeg4"),
    ],
)
async def test_formats(make_video: Any, name: str, codec: str, container: str, found: str) -> None:
    facts = await probe(make_video(name, codec=codec))
    assert isinstance(facts, VideoFacts)
    assert (facts.container, facts.video_codec, facts.whole) == (container, found, True)
    assert abs(facts.duration_ms - 1000) <= 40


async def code(path: Path, **limits: Any) -> str:
    found = await probe(path, **limits)
    assert isinstance(found, MediaProblem), found
    return found.code


def test_looking_into_files_in_this_process(make_video: Any, tmp_path: Path) -> None:
    """The same code as in the child, where coverage sees it."""
    good = look_into(str(make_video()))
    assert (good["video_codec"], good["fps"], good["whole"]) == ("h264", 30.0, True)
    assert look_into(str(make_video("a.webm", codec="libvpx")))["container"] == "webm"
    assert look_into(str(make_video("a.mkv")))["container"] == "matroska"
    fast = make_video("fast.mp4", frames=120, options={"movflags": "faststart"})
    fast.write_bytes(fast.read_bytes()[: fast.stat().st_size * 2 // 3])
    assert look_into(str(fast))["whole"] is False
    assert look_into(str(tmp_path / "missing.mp4")) == {"error": "file_unreadable"}


async def test_garbage(tmp_path: Path) -> None:
    path = tmp_path / "garbage.mp4"
    for content in (b"", b"\x00" * 100_000, b"not a video" * 1000, b"\x00\x00\x00\x18ftypmp42" + b"\xff" * 5000):
        path.write_bytes(content)
        assert await code(path) == "file_unreadable"


async def test_playlists_that_would_open_other_files_are_no_videos(tmp_path: Path, make_video: Any) -> None:
    other = make_video()
    for name, content in (
        ("list.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", f"ffconcat version 1.0\nfile '{other}'\n"),
    ):
        path = tmp_path / name
        path.write_text(content)
        assert await code(path) == "file_unreadable"


async def test_truncated(make_video: Any) -> None:
    whole = make_video(frames=120)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert await code(whole) == "file_unreadable"
    streamable = make_video("fast.mp4", frames=120, options={"movflags": "faststart"})
    streamable.write_bytes(streamable.read_bytes()[: streamable.stat().st_size * 2 // 3])
    facts = await probe(streamable)
    assert isinstance(facts, VideoFacts)
    assert not facts.whole


async def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 44100
        for number in range(20):
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert await code(path) == "no_video_stream"


async def test_a_bomb_is_stopped_in_time(tmp_path: Path) -> None:
    """A file that never ends (a pipe nobody writes to) takes no more than its time, and its process is gone."""
    path = tmp_path / "endless.mp4"
    os.mkfifo(path)
    began = time.monotonic()
    assert await code(path, seconds=0.2) == "probe_timeout"
    assert time.monotonic() - began < 3


async def test_a_memory_bomb_is_stopped(make_video: Any) -> None:
    path = make_video("big.mp4", width=4096, height=4096, frames=3)
    assert isinstance(await probe(path), VideoFacts)
    assert await code(path, memory_bytes=200 * 1024 * 1024) in {"file_unreadable", "probe_timeout"}


async def test_a_child_that_dies_is_an_unreadable_file(make_video: Any) -> None:
    assert await code(make_video(), memory_bytes=40 * 1024 * 1024) == "file_unreadable"


async def test_processor_time_is_limited(make_video: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that computes on and on is ended by the system, even if nobody watched its clock."""
    path = make_video(frames=600, width=1280, height=720)
    prober = Prober(ProbeLimits(seconds=20))
    endless = "import sys; from scheduler.probe.child import give_up_rights; give_up_rights(0.5, 2**30)\nwhile True: pass"

    async def run(_: Path) -> tuple[int, bytes]:
        child = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", endless, env={})
        async with asyncio.timeout(10):
            return await child.wait(), b""

    monkeypatch.setattr(prober, "_run", run)
    found = await prober.probe(path)
    assert isinstance(found, MediaProblem)
    assert found.code == "probe_timeout"


async def test_an_answer_that_is_none_is_an_unreadable_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prober = Prober(ProbeLimits())
    facts = {"container": "mp4", "video_codec": "h264", "width": 1, "height": 1, "fps": 1, "whole": True}
    for_ever = json.dumps({**facts, "duration_ms": 2**63}).encode()
    for answer in (b"", b"null", b"[]", b"{}", b"{", b'{"error": "unheard_of"}', for_ever):

        async def run(_: Path, answer: bytes = answer) -> tuple[int, bytes]:
            return 0, answer

        monkeypatch.setattr(prober, "_run", run)
        found = await prober.probe(tmp_path)
        assert isinstance(found, MediaProblem)
        assert found.message == "The file cannot be read as a video."


async def test_the_child_sees_no_environment_and_no_network(tmp_path: Path) -> None:
    """What the child does to itself, seen from inside: run in a process of its own."""
    program = (
        "import os, socket, resource; from scheduler.probe.child import give_up_rights; give_up_rights(5, 2**30)\n"
        "names = [name for _, name in socket.if_nameindex()]\n"
        "print(sorted(set(os.environ) - {'LC_CTYPE'}), resource.getrlimit(resource.RLIMIT_AS)[1] == 2**30, names)"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", program, env={}, stdout=asyncio.subprocess.PIPE, cwd="/"
    )
    output, _ = await child.communicate()
    assert output.decode().startswith("[] True")
    assert await child.wait() == 0


async def test_probes_run_a_few_at_a_time(make_video: Any) -> None:
    prober, path = Prober(ProbeLimits(), parallel=2), make_video()
    found = await asyncio.gather(*(prober.probe(path) for _ in range(5)))
    assert all(isinstance(facts, VideoFacts) for facts in found)


async def test_a_probe_given_up_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "endless.mp4"
    os.mkfifo(path)
    probing = asyncio.create_task(probe(path, seconds=30))
    children = await eventually(lambda: [child for child in psutil.Process().children() if str(path) in child.cmdline()])
    probing.cancel()
    await asyncio.wait([probing])
    assert not children[0].is_running()


async def test_a_bucket_is_downloaded_and_the_copy_removed() -> None:
    bucket = MemoryStore()
    await obstore.put_async(bucket, "m/a.mp4", b"x" * 100_000)
    storage = ObjectStorage("s3://bucket/prefix", remote=bucket)
    async with storage.local_file("m/a.mp4") as path:
        assert path.read_bytes() == b"x" * 100_000
    assert not path.exists()
    with pytest.raises(ObjectMissing):
        await storage.local_file("m/b.mp4").__aenter__()


async def test_a_storage_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    away = S3Store(
        "bucket", endpoint="http://127.0.0.1:1", client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    for storage in (ObjectStorage(f"file://{tmp_path}/gone"), ObjectStorage("s3://bucket", remote=away)):
        with pytest.raises(Transient):
            await storage.local_file("a").__aenter__()


async def test_storage_outside_the_root_is_missing(tmp_path: Path) -> None:
    storage = ObjectStorage(f"file://{tmp_path}/with%20space")
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "a").write_text("x")
    (tmp_path / "secret").write_text("x")
    async with storage.local_file("a") as path:
        assert path.read_text() == "x"
    (tmp_path / "with space" / "link").symlink_to(tmp_path / "secret")
    for key in ("../secret", "link", "."):
        with pytest.raises(ObjectMissing):
            await storage.local_file(key).__aenter__()
