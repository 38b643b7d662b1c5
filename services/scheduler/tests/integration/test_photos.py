"""Photos in the library: real pictures through the real probe, upright whichever way they were taken."""

import asyncio
import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from common.contracts.scheduler import CreatePost, RegisterMedia
from common.ids import uuid7
from common.messaging.reply import Reply
from scheduler.domain.media_rules import MAX_PHOTO_BYTES, MediaProblem, PhotoFacts
from scheduler.probe.child import look_into
from scheduler.probe.limits import ProbeLimits
from scheduler.probe.photo_header import PhotoHeader, Unreadable, read_header
from scheduler.probe.prober import Probed, Prober

pytestmark = pytest.mark.integration
PHOTO_HINT = "Save the picture as JPEG or WebP. A post takes photos from public addresses (photo_urls), not from the library."


def picture(codec: str, width: int = 400, height: int = 300, pix_fmt: str = "yuv420p") -> bytes:
    """Return an encoded picture whose left half is bright and whose right half is dark."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, pix_fmt, Fraction(1, 1)
    frame = av.VideoFrame(width, height, pix_fmt)
    for number, plane in enumerate(frame.planes):
        line = bytes(
            [200 if number == 0 else 128] * (plane.line_size // 2) + [40 if number == 0 else 128] * (plane.line_size // 2)
        )
        plane.update(line * plane.height)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def turned_jpeg(orientation: int, order: str = "<") -> bytes:
    plain, data = picture("mjpeg", pix_fmt="yuvj420p"), b"Exif\0\0" + exif(orientation, order)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + plain[2:]


def turned_webp(orientation: int, *, flags: int = 0x08) -> bytes:
    plain, data = picture("libwebp"), exif(orientation)
    canvas = bytes([flags, 0, 0, 0]) + (399).to_bytes(3, "little") + (299).to_bytes(3, "little")
    chunks = b"VP8X" + struct.pack("<I", 10) + canvas + plain[12:] + b"EXIF" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


async def probe(path: Path, content: bytes, **limits: Any) -> Probed | MediaProblem:
    await asyncio.to_thread(path.write_bytes, content)
    return await Prober(ProbeLimits(**limits)).probe(path, uuid7())


@pytest.mark.parametrize(
    ("content", "container", "size"),
    [
        (picture("mjpeg", pix_fmt="yuvj420p"), "jpeg", (400, 300)),
        (picture("mjpeg", 1920, 1080, "yuvj444p"), "jpeg", (1920, 1080)),
        (picture("libwebp"), "webp", (400, 300)),
        (picture("libwebp", pix_fmt="bgra"), "webp", (400, 300)),
        (turned_jpeg(6), "jpeg", (300, 400)),
        (turned_jpeg(3, ">"), "jpeg", (400, 300)),
        (turned_jpeg(99), "jpeg", (400, 300)),
        (turned_webp(8), "webp", (300, 400)),
        (picture("mjpeg", pix_fmt="yuvj420p") + b"trailer" * 100, "jpeg", (400, 300)),
    ],
)
async def test_photos_are_read(tmp_path: Path, content: bytes, container: str, size: tuple[int, int]) -> None:
    found = await probe(tmp_path / "a", content)
    assert isinstance(found, Probed), found
    assert found.facts == PhotoFacts(container, *size)
    assert found.thumbnail is not None
    header = read_header(found.thumbnail)
    assert max(header.width, header.height) <= 640
    assert (header.width > header.height) == (size[0] > size[1])


@pytest.mark.parametrize(
    ("orientation", "bright"),
    [(1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")],
)
def test_thumbnails_are_upright(tmp_path: Path, orientation: int, bright: str) -> None:
    """The bright left half ends where the EXIF orientation puts it."""
    (tmp_path / "a").write_bytes(turned_jpeg(orientation))
    _, thumbnail = look_into(str(tmp_path / "a"))
    assert thumbnail is not None
    with av.open(io.BytesIO(thumbnail), format="jpeg_pipe") as container:
        frame = next(container.decode(video=0)).reformat(format="gray")
    plane = bytes(frame.planes[0])
    line = frame.planes[0].line_size
    light = {
        side: plane[y * line + x]
        for side, (x, y) in {
            "left": (5, frame.height // 2),
            "right": (frame.width - 5, frame.height // 2),
            "top": (frame.width // 2, 5),
            "bottom": (frame.width // 2, frame.height - 5),
        }.items()
    }
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[bright]
    assert light[opposite] < 80 < 150 < light[bright]


@pytest.mark.parametrize(
    ("content", "code", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "container_not_allowed", "png"),
        (b"GIF89a" + bytes(100), "container_not_allowed", "gif"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), "container_not_allowed", "heic"),
        (b"\x00\x00\x00\x18ftypavif" + bytes(100), "container_not_allowed", "avif"),
        (b"\xff\xd8\xff", "photo_unreadable", None),
        (b"\xff\xd8\xff" + bytes(5000), "photo_unreadable", None),
        (b"\xff\xd8" + b"\xff\xe0\x00\x00" * 50, "photo_unreadable", None),
        (picture("mjpeg", pix_fmt="yuvj420p")[:100], "photo_unreadable", None),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "photo_unreadable", None),
        (b"RIFF\x10\x00\x00\x00WEBPXXXX" + bytes(50), "photo_unreadable", None),
    ],
)
async def test_what_is_no_photo_for_tiktok(tmp_path: Path, content: bytes, code: str, found: str | None) -> None:
    problem = await probe(tmp_path / "a", content)
    assert isinstance(problem, MediaProblem), problem
    assert (problem.code, problem.found) == (code, found)
    if code == "container_not_allowed":
        assert (problem.allowed, problem.hint) == ("jpeg, webp", PHOTO_HINT)


def test_a_picture_bomb_is_not_decoded(tmp_path: Path) -> None:
    """65,500 by 65,500 pixels claimed by a few bytes: refused for its size, by its header alone."""
    bomb = bytearray(picture("mjpeg", pix_fmt="yuvj420p"))
    frame = bomb.find(b"\xff\xc0")
    bomb[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    (tmp_path / "a").write_bytes(bomb)
    facts, thumbnail = look_into(str(tmp_path / "a"))
    assert (facts["width"], facts["height"], thumbnail) == (65_500, 65_500, None)


def test_a_header_that_lies_is_found_out(tmp_path: Path) -> None:
    lying = bytearray(turned_webp(1))
    lying[24:27] = (500).to_bytes(3, "little")
    (tmp_path / "a").write_bytes(lying)
    assert look_into(str(tmp_path / "a")) == ({"error": "photo_unreadable"}, None)


def test_an_animation_and_half_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(turned_webp(1, flags=0x02))
    assert look_into(str(tmp_path / "a"))[0]["animated"] is True
    for content in (picture("mjpeg", 800, 800, "yuvj420p")[:-2], picture("libwebp", 800, 800)[:-50]):
        (tmp_path / "a").write_bytes(content)
        facts, thumbnail = look_into(str(tmp_path / "a"))
        assert (facts["whole"], thumbnail) == (False, None)


def test_headers_read_without_a_decoder() -> None:
    lossless = b"RIFF\x20\x00\x00\x00WEBPVP8L\x10\x00\x00\x00\x2f" + (99 | 49 << 14).to_bytes(4, "little") + bytes(20)
    assert read_header(lossless) == PhotoHeader(100, 50)
    assert read_header(turned_webp(1, flags=0x08)[:-2]).whole is False
    without = turned_webp(1).replace(b"EXIF", b"XXXX")
    assert read_header(without).orientation == 1
    broken = turned_jpeg(6).replace(b"II*\0\x08", b"II*\0\xff")
    assert read_header(broken).orientation == 1
    padded = picture("mjpeg", pix_fmt="yuvj420p").replace(b"\xff\xc0", b"\xff\xff\xff\x01\xff\xc0", 1)
    assert read_header(padded).width == 400
    for garbage in (b"", b"\xff\xd8", b"RIFF", b"RIFF1234XXXXVP8 " + bytes(30), b"\xff\xd8\xff\xda\x00\x02"):
        with pytest.raises(Unreadable):
            read_header(garbage)


async def register(scheduler: Any, user_id: Any, content: bytes, content_type: str, size: int | None = None) -> Reply:
    media_id = uuid7()
    path = scheduler.storage / "media" / str(user_id) / str(media_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    message = RegisterMedia(
        media_id=media_id,
        storage_key=f"media/{user_id}/{media_id}",
        filename="a",
        content_type=content_type,
        size_bytes=size or len(content),
        sha256=uuid7().hex * 2,
    )
    reply: Reply = await scheduler.command(message, user_id)
    return reply


async def test_a_photo_is_ready_but_no_video_for_a_post(world: Any, scheduler: Any) -> None:
    user_id = uuid7()
    account = await world.account(user_id)
    reply = await register(scheduler, user_id, turned_jpeg(6), "image/jpeg")
    assert reply.status == 201, reply.body
    assert reply.body is not None
    empty = ("duration_ms", "fps", "video_codec")
    assert (reply.body["width"], reply.body["height"], [reply.body[name] for name in empty]) == (300, 400, [None] * 3)
    wanted = CreatePost(
        tiktok_account_id=account.id,
        caption="x",
        privacy_level="SELF_ONLY",
        media_id=reply.body["id"],
        scheduled_time="2036-01-01T00:00:00Z",
    )
    refused = await scheduler.command(wanted, user_id)
    assert (refused.status, refused.body["code"]) == (422, "media_not_a_video")


async def test_every_rule_a_photo_breaks_is_named(scheduler: Any) -> None:
    content = picture("mjpeg", 2000, 1400, "yuvj420p")
    reply = await register(scheduler, uuid7(), content, "image/jpeg", MAX_PHOTO_BYTES + 1)
    assert reply.body is not None
    assert (reply.status, reply.body["code"]) == (422, "media_rejected")
    assert [(item["code"], item["field"], item["found"], item["allowed"]) for item in reply.body["errors"]] == [
        ("picture_too_large", "width", "2000 px", "1-1920 px"),
        ("picture_too_large", "height", "1400 px", "1-1080 px"),
        ("file_too_large", "size_bytes", "20000001 bytes", "<= 20000000 bytes"),
    ]
