"""The probe against real videos and hostile files, each looked into by a real child process."""

import asyncio
import errno
import io
import json
import os
import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID, uuid4

import av
import av.video
import psutil
import pytest

from common.testing.eventually import eventually
from scheduler.domain.media_rules import MediaProblem, PhotoFacts, VideoFacts, check_media
from scheduler.handlers.queues import MEDIA
from scheduler.probe import child as child_process
from scheduler.probe import no_network
from scheduler.probe import prober as prober_module
from scheduler.probe.child import look_into
from scheduler.probe.limits import ProbeLimits
from scheduler.probe.photo_header import read_header
from scheduler.probe.prober import NotConfined, Probed, Prober

pytestmark = pytest.mark.integration

USER = uuid4()


async def probe(path: Path, **limits: Any) -> VideoFacts | PhotoFacts | MediaProblem:
    found = await Prober(ProbeLimits(**limits)).probe(path, USER)
    return found.facts if isinstance(found, Probed) else found


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


def test_relatives_of_mp4_go_by_their_own_names(make_video: Any) -> None:
    path = make_video()
    content = bytearray(path.read_bytes())
    for brand, name in (
        (b"3gp6", "3gp"),
        (b"3ge7", "3gp"),
        (b"3g2a", "3g2"),
        (b"mj2s", "mj2"),
        (b"mjp2", "mj2"),
        (b"qt  ", "mov"),
        (b"isom", "mp4"),
        (b"mp42", "mp4"),
    ):
        content[8:12] = brand
        content[16:] = content[16:].replace(b"mp41", b"isom", 1)
        path.write_bytes(content)
        facts, _ = look_into(str(path))
        assert facts.pop("kind") == "video"
        assert facts["container"] == name, brand
        refused = [problem.code for problem in check_media(VideoFacts(**facts), size_bytes=len(content))]
        assert refused == ([] if name in {"mov", "mp4"} else ["container_not_allowed"]), brand
    content[8:12], content[16:20] = b"3gp4", b"mp42"
    path.write_bytes(content)
    facts, _ = look_into(str(path))
    assert facts["container"] == "mp4", "that may be read as MP4"


async def test_formats_that_tiktok_does_not_take_are_named(make_video: Any) -> None:
    """Not only those of the same family as MP4 and WebM, which are opened."""
    for name, codec in (("a.avi", "mpeg4"), ("a.flv", "flv"), ("a.wmv", "wmv2"), ("a.mpeg", "mpeg1video")):
        found, thumbnail = look_into(str(make_video(name, codec=codec)))
        assert (found["error"], found["found"], thumbnail) == ("container_not_allowed", Path(name).suffix[1:], None)
    for name in ("a.avi", "a.flv"):
        problem = await probe(make_video().with_name(name))
        assert isinstance(problem, MediaProblem), problem
        named = (problem.field, problem.code, problem.found, problem.allowed)
        assert named == ("container", "container_not_allowed", Path(name).suffix[1:], "mp4, mov, webm")
        assert problem.hint is not None


async def code(path: Path, **limits: Any) -> str:
    found = await probe(path, **limits)
    assert isinstance(found, MediaProblem), found
    return found.code


def test_looking_into_files_in_this_process(make_video: Any, tmp_path: Path) -> None:
    """The same code as in the child, where coverage sees it."""
    good, picture = look_into(str(make_video()))
    assert picture is not None
    assert picture.startswith(b"\xff\xd8\xff")
    assert (good["video_codec"], good["fps"], good["whole"]) == ("h264", 30.0, True)
    assert look_into(str(make_video("a.webm", codec="libvpx")))[0]["container"] == "webm"
    assert look_into(str(make_video("a.mkv")))[0]["container"] == "matroska"
    fast = make_video("fast.mp4", frames=120, options={"movflags": "faststart"})
    fast.write_bytes(fast.read_bytes()[: fast.stat().st_size * 2 // 3])
    assert look_into(str(fast))[0]["whole"] is False
    assert look_into(str(tmp_path / "missing.mp4")) == ({"error": "file_unreadable"}, None)


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


def trim(path: Path, *, start_s: int, seconds: int) -> None:
    """Have the edit list of a video show only so much of it, as a lossless cut does: every picture stays in the file."""
    content = bytearray(path.read_bytes())
    edit, media, movie, track = (content.find(box) for box in (b"elst", b"mdhd", b"mvhd", b"tkhd"))
    per_second, ticks = (int.from_bytes(content[at + 16 : at + 20]) for at in (movie, media))
    content[edit + 12 : edit + 20] = struct.pack(">Ii", seconds * per_second, start_s * ticks)
    content[movie + 20 : movie + 24] = content[track + 24 : track + 28] = struct.pack(">I", seconds * per_second)
    path.write_bytes(content)


def test_a_video_trimmed_by_its_edit_list_is_whole(make_video: Any) -> None:
    for start_s, seconds in ((1, 2), (0, 2), (1, 1)):
        path = make_video(frames=90, codec="mpeg4", options={"movflags": "faststart"})
        trim(path, start_s=start_s, seconds=seconds)
        facts, thumbnail = look_into(str(path))
        assert (facts["duration_ms"], facts["whole"]) == (seconds * 1000, True), (start_s, seconds)
        assert thumbnail is not None
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
        assert look_into(str(path))[0]["whole"] is False, (start_s, seconds)


def write_with_long_sound(path: Path, codec: str, sound: str, options: dict[str, str]) -> None:
    """Write 3 s of pictures and 8 s of silence."""
    with av.open(str(path), "w", options=options) as container:
        pictures, silence = container.add_stream(codec, rate=10), container.add_stream(sound, rate=48000, layout="mono")
        assert isinstance(pictures, av.video.VideoStream)
        pictures.width, pictures.height, pictures.pix_fmt = 360, 640, "yuv420p"
        for number in range(30):
            picture = av.VideoFrame(360, 640, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
        for number in range(8):
            second = av.AudioFrame(format="fltp", layout="mono", samples=48000)
            second.planes[0].update(bytes(second.planes[0].buffer_size))
            second.sample_rate, second.pts, second.time_base = 48000, number * 48000, Fraction(1, 48000)
            container.mux(silence.encode(second))
        container.mux(silence.encode(None))


def test_a_video_whose_sound_outlasts_its_picture_is_whole(tmp_path: Path) -> None:
    for name, codec, sound, options in (
        ("a.mp4", "libx264", "aac", {"movflags": "faststart"}),
        ("a.mov", "libx264", "pcm_s16le", {"movflags": "faststart"}),
        ("fragments.mp4", "libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.webm", "libvpx", "libopus", {}),
    ):
        path = tmp_path / name
        write_with_long_sound(path, codec, sound, options)
        facts, _ = look_into(str(path))
        assert facts["whole"] is True, (name, facts)
        assert abs(facts["duration_ms"] - 8000) <= 300, (name, facts)
        if name != "fragments.mp4":
            with av.open(str(path)) as container:
                last = max(packet.pos or 0 for packet in container.demux(audio=0) if packet.size)
            path.write_bytes(path.read_bytes()[:last])
            assert look_into(str(path))[0]["whole"] is False, (name, "its sound ends early")


def test_a_webm_that_ends_early_is_not_whole(make_video: Any) -> None:
    path = make_video("a.webm", codec="libvpx", frames=75)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert look_into(str(path))[0]["whole"] is False
    # One that was written as a stream does not say how many bytes it has.
    size = content.find(b"\x18\x53\x80\x67") + 4
    streamed = content[:size] + b"\x01" + b"\xff" * 7 + content[size + 8 :]
    for part, is_whole in ((len(streamed), True), (len(streamed) // 4, False)):
        path.write_bytes(streamed[:part])
        assert look_into(str(path))[0]["whole"] is is_whole, part


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
    assert await code(path, seconds=0.2) == "probe_timeout"


async def test_a_memory_bomb_is_stopped(make_video: Any) -> None:
    path = make_video("big.mp4", width=4096, height=4096, frames=3)
    assert isinstance(await probe(path), VideoFacts)
    assert await code(path, memory_bytes=200 * 1024 * 1024) in {"file_unreadable", "probe_timeout"}


async def test_a_child_that_dies_is_an_unreadable_file(make_video: Any) -> None:
    assert await code(make_video(), memory_bytes=40 * 1024 * 1024) == "file_unreadable"


async def test_processor_time_is_limited(make_video: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that computes on and on is ended by the system, even if nobody watched its clock."""
    path = make_video()
    prober = Prober(ProbeLimits(seconds=20))
    endless = "import sys; from scheduler.probe.child import give_up_rights; give_up_rights(0.5, 2**30)\nwhile True: pass"

    async def run(_: Path) -> tuple[int, bytes]:
        child = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", endless, env={})
        async with asyncio.timeout(60):
            return await child.wait(), b""

    monkeypatch.setattr(prober, "_run", run)
    found = await prober.probe(path, USER)
    assert isinstance(found, MediaProblem)
    assert found.code == "probe_timeout"


async def test_an_answer_that_is_none_is_an_unreadable_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prober = Prober(ProbeLimits())
    facts = {"kind": "video", "container": "mp4", "video_codec": "h264", "width": 1, "height": 1, "fps": 1, "whole": True}
    for_ever = json.dumps({**facts, "duration_ms": 2**63}).encode()
    for answer in (b"", b"null", b"[]", b"{}", b"{", b'{"error": "unheard_of"}', for_ever):

        async def run(_: Path, answer: bytes = answer) -> tuple[int, bytes]:
            return 0, answer

        monkeypatch.setattr(prober, "_run", run)
        found = await prober.probe(tmp_path, USER)
        assert isinstance(found, MediaProblem)
        assert found.message == "The file cannot be read as a video."


async def test_the_child_sees_no_environment_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the child does to itself, seen from inside: run in a process of its own."""
    program = """if True:
        import ctypes, os, resource, socket
        from scheduler.probe.child import give_up_rights
        give_up_rights(5, 2**30)
        print(sorted(set(os.environ) - {'LC_CTYPE'}), resource.getrlimit(resource.RLIMIT_AS)[1] == 2**30)
        families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK)
        for make in (*(lambda family=family: socket.socket(family) for family in families), socket.socketpair):
            try:
                print(make())
            except OSError as error:
                print(error.errno)
        system = ctypes.CDLL(None, use_errno=True).syscall
        print(system(425, 1, ctypes.create_string_buffer(120)), system(0x40000000 + 41, 2, 1, 0))
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", program, env={}, stdout=asyncio.subprocess.PIPE, cwd="/"
    )
    output, _ = await child.communicate()
    if sys.platform == "linux" and os.uname().machine in no_network.MACHINES:
        assert output.decode().splitlines() == ["[] True", *[str(errno.EPERM)] * 5, "-1 -1"]
    # Where no filter is known, the network is left; where that is refused too, nothing of others is looked into.
    unshare = Mock(side_effect=[0, -1])
    monkeypatch.setattr(no_network, "MACHINES", {})
    monkeypatch.setattr(no_network.ctypes, "CDLL", Mock(return_value=Mock(unshare=unshare)))
    no_network.keep_from_network()
    monkeypatch.setattr(child_process, "give_up_rights", lambda *_: no_network.keep_from_network())
    monkeypatch.setattr(sys, "argv", ["child", "/dev/null", "5", "1"])
    with pytest.raises(SystemExit) as ended:
        child_process.main()
    assert ended.value.code == os.EX_NOPERM
    assert unshare.call_count == 2
    prober = Prober(ProbeLimits())
    monkeypatch.setattr(prober, "_run", AsyncMock(return_value=(os.EX_NOPERM, b"")))
    with pytest.raises(NotConfined, match="seccomp"):
        await prober.probe(Path("/dev/null"), USER)


async def test_one_user_never_has_all_places_of_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that take all the time they may keep nobody else's from being fetched and looked into."""
    assert MEDIA.prefetch > prober_module.WAITING + 2 * 32, "whoever waits keeps no other out of hand"
    prober, ended, hostile, other = Prober(ProbeLimits(), parallel=2), asyncio.Event(), uuid4(), uuid4()
    fetched: list[str] = []
    looked_into: list[str] = []

    async def run(path: Path) -> tuple[int, bytes]:
        looked_into.append(path.name)
        await ended.wait()
        return 1, b""

    async def register(name: str, user_id: UUID) -> None:
        async with prober.turn(user_id):
            fetched.append(name)
            await prober.probe(Path(name), user_id)

    monkeypatch.setattr(prober, "_run", run)
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(register(name, hostile))
        group.create_task(register("x", other))
        await eventually(lambda: "x" in looked_into)
        assert (fetched, looked_into) == (["a", "b", "x"], ["a", "x"])
        ended.set()
    assert sorted(looked_into) == ["a", "b", "c", "x"]


async def test_a_probe_given_up_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "endless.mp4"
    os.mkfifo(path)
    probing = asyncio.create_task(probe(path, seconds=30))
    children = await eventually(lambda: [child for child in psutil.Process().children() if str(path) in child.cmdline()])
    probing.cancel()
    await asyncio.wait([probing])
    assert not children[0].is_running()


async def test_the_thumbnail_of_a_video_is_small_and_not_the_black_beginning(tmp_path: Path) -> None:
    path = tmp_path / "black.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "15"})
        assert isinstance(stream, av.video.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 720, 1280, "yuv420p"
        frame = av.VideoFrame(720, 1280, "yuv420p")
        for number in range(75):
            for plane, shade in zip(frame.planes, (16 if number < 20 else 200, 128, 128), strict=True):
                plane.update(bytes([shade]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = await Prober(ProbeLimits()).probe(path, USER)
    assert isinstance(found, Probed)
    assert found.thumbnail is not None
    with av.open(io.BytesIO(found.thumbnail), format="jpeg_pipe") as shown:
        picture = next(shown.decode(video=0))
    assert (picture.width, picture.height) == (360, 640)
    assert bytes(picture.planes[0])[0] > 150


def test_a_turned_video_is_shown_upright(make_video: Any) -> None:
    """Telephones store upright videos lying, with a matrix in the track's header that turns them."""
    path = make_video("turned.mp4", width=640, height=360)
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44
    for turn in ((0, 1, -1, 0), (0, -1, 1, 0)):
        a, b, c, d = (value << 16 for value in turn)
        content[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(content)
        facts, thumbnail = look_into(str(path))
        assert (facts["width"], facts["height"]) == (360, 640)
        assert thumbnail is not None
        header = read_header(thumbnail)
        assert (header.width, header.height) == (360, 640)


async def test_a_file_that_claims_a_thousand_million_pictures(make_video: Any) -> None:
    """The table of sample sizes says 10^9 samples of one size: no table is needed for that, so nothing limits the claim."""
    path = make_video(frames=30)
    content = bytearray(path.read_bytes())
    sizes = content.find(b"stsz")
    content[sizes + 8 : sizes + 16] = struct.pack(">II", 1000, 10**9)
    path.write_bytes(content)
    found = await probe(path, seconds=5)
    assert isinstance(found, MediaProblem) or not found.whole  # type: ignore[union-attr]


async def test_an_endless_answer_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child that was taken over and writes on and on fills no memory of ours."""
    real = asyncio.create_subprocess_exec

    async def talkative(*arguments: Any, **options: Any) -> Any:
        return await real(sys.executable, "-c", "while True: print('x' * 100_000)", **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", talkative)
    assert await code(tmp_path) in {"file_unreadable", "probe_timeout"}


async def test_a_file_without_pictures_is_told_from_one_that_is_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert await code(empty) == "file_unreadable"
    assert await code(tmp_path / "missing") == "file_unreadable"
