import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tiktok_simulator.driver import Driver, eventually
from tiktok_simulator.sample_video import make_video
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import RunningSimulator, running_simulator

MB = 1_000_000


async def start(driver: Driver, size: int) -> tuple[str, str, str]:
    token = (await driver.connect())["access_token"]
    data = (await driver.init(token, size)).json()["data"]
    return token, data["publish_id"], data["upload_url"]


async def uploaded(driver: Driver, token: str, publish_id: str) -> int:
    stored: int = (await driver.status(token, publish_id)).json()["data"]["uploaded_bytes"]
    return stored


async def test_several_chunks_with_the_remainder_in_the_last(driver: Driver) -> None:
    size = 66 * MB
    data = os.urandom(size)
    token, publish_id, url = await start(driver, size)
    for index in range(6):
        first, end = index * 10 * MB, (index + 1) * 10 * MB if index < 5 else size
        answer = await driver.put(url, first, size, data[first:end])
        assert answer.status_code == (201 if index == 5 else 206)
        assert answer.headers["content-range"] == f"bytes 0-{end}/{size}"
        assert answer.json() == {}
        assert await uploaded(driver, token, publish_id) == end
        (item,) = await driver.ledger()
        assert item["bytes"] == end
        assert (item["sha256"] is None) is (index < 5)
    assert item["sha256"] == hashlib.sha256(data).hexdigest()
    assert item["uploaded_at"] is not None


@pytest.mark.parametrize(
    ("first", "length", "headers", "status"),
    [
        (0, 10 * MB, {"content_range": ""}, 416),
        (0, 10 * MB, {"content_range": "bytes=0-9999999/66000000"}, 400),
        (0, 10 * MB, {"content_range": "bytes 0-9999999/*"}, 400),
        (0, 10 * MB, {"content_range": "bytes 0-9999998/66000000"}, 400),
        (0, 10 * MB, {"content_range": "bytes 9999999-0/66000000"}, 400),
        (0, 10 * MB, {"content_range": "bytes 0-9999999/66000001"}, 400),
        (0, 10 * MB, {"content_type": "application/octet-stream"}, 400),
        (0, 10 * MB, {"content_type": ""}, 400),
        (0, 9 * MB, {}, 400),
        (0, 11 * MB, {}, 400),
        (10 * MB, 10 * MB, {}, 416),
        (5, 10 * MB - 5, {}, 416),
    ],
)
async def test_refused_chunks_store_nothing(
    driver: Driver, first: int, length: int, headers: dict[str, str], status: int
) -> None:
    token, publish_id, url = await start(driver, 66 * MB)
    answer = await driver.put(url, first, 66 * MB, bytes(length), **headers)
    assert answer.status_code == status
    assert await uploaded(driver, token, publish_id) == 0
    assert (await driver.put(url, 0, 66 * MB, bytes(10 * MB))).status_code == 206


async def test_a_stored_range_sent_again(driver: Driver) -> None:
    token, publish_id, url = await start(driver, 66 * MB)
    await driver.put(url, 0, 66 * MB, bytes(10 * MB))
    assert (await driver.put(url, 0, 66 * MB, bytes(10 * MB))).status_code == 416
    assert await uploaded(driver, token, publish_id) == 10 * MB


async def test_a_finished_upload_takes_no_more(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    data = (await driver.init(token, len(video))).json()["data"]
    assert (await driver.put(data["upload_url"], 0, len(video), video)).status_code == 201
    assert (await driver.put(data["upload_url"], 0, len(video), video)).status_code == 416


async def test_unknown_addresses(driver: Driver) -> None:
    _, _, url = await start(driver, 1000)
    for wrong in (url + "x", url.replace("upload_id=", "upload_id=9"), url.partition("?")[0]):
        assert (await driver.put(wrong, 0, 1000, bytes(1000))).status_code == 404
    assert (await driver.http.post(url, content=b"")).status_code == 405


async def test_an_address_expires_even_while_a_chunk_is_under_way(driver: Driver) -> None:
    token, publish_id, url = await start(driver, 1000)
    await driver.advance(3590)
    await driver.fault("upload", delay=60)
    under_way = asyncio.create_task(driver.put(url, 0, 1000, bytes(1000)))

    async def taken() -> bool:
        return not await driver.faults()

    await eventually(taken)
    await driver.advance(10)
    await driver.http.delete(f"{driver.base_url}/_simulator/faults")
    assert (await under_way).status_code == 403
    assert (await driver.put(url, 0, 1000, bytes(1000))).status_code == 403
    assert await uploaded(driver, token, publish_id) == 0


async def test_a_connection_that_breaks_in_a_chunk_stores_nothing_of_it(shared: RunningSimulator, driver: Driver) -> None:
    size = 66 * MB
    data = os.urandom(size)
    token, publish_id, url = await start(driver, size)
    await driver.put(url, 0, size, data[: 10 * MB])
    half_sent = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield data[10 * MB : 15 * MB]
        half_sent.set()
        await asyncio.Event().wait()

    headers = {
        "content-type": "video/mp4",
        "content-range": f"bytes {10 * MB}-{20 * MB - 1}/{size}",
        "content-length": str(10 * MB),
    }
    sending = asyncio.create_task(driver.http.put(url, content=half(), headers=headers))
    await half_sent.wait()

    async def receiving() -> bool:
        (item,) = await driver.ledger()
        return bool(item["receiving"] > 4 * MB)

    await eventually(receiving)
    (under_way,) = (await driver.stats())["uploads"]
    assert (under_way["publish_id"], under_way["first"], under_way["last"]) == (publish_id, 10 * MB, 20 * MB - 1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    async def gone() -> bool:
        return not (await driver.stats())["uploads"]

    await eventually(gone)
    assert await uploaded(driver, token, publish_id) == 10 * MB
    for index in range(1, 6):
        first, end = index * 10 * MB, (index + 1) * 10 * MB if index < 5 else size
        await driver.put(url, first, size, data[first:end])
    (item,) = await driver.ledger()
    assert item["sha256"] == hashlib.sha256(data).hexdigest()


async def test_the_newer_request_for_a_chunk_wins(driver: Driver) -> None:
    size = 66 * MB
    token, publish_id, url = await start(driver, size)
    await driver.fault("upload", delay=30)
    stale = asyncio.create_task(driver.put(url, 0, size, b"a" * (10 * MB)))

    async def taken() -> bool:
        return not await driver.faults() and bool((await driver.stats())["uploads"])

    await eventually(taken)
    assert (await driver.put(url, 0, size, b"b" * (10 * MB))).status_code == 206
    await driver.http.delete(f"{driver.base_url}/_simulator/faults")
    assert (await stale).status_code == 416
    assert await uploaded(driver, token, publish_id) == 10 * MB
    rest = b"b" * (56 * MB)
    for index in range(1, 6):
        first, end = index * 10 * MB, (index + 1) * 10 * MB if index < 5 else size
        await driver.put(url, first, size, rest[: end - first])
    (item,) = await driver.ledger()
    assert item["sha256"] == hashlib.sha256(b"b" * size).hexdigest()


async def test_a_sender_killed_in_the_middle_of_a_chunk(driver: Driver) -> None:
    size = 66 * MB
    token, publish_id, url = await start(driver, size)
    await driver.fault("upload", delay=60)
    program = (
        "import http.client, sys; host, _, path = sys.argv[1].partition('//')[2].partition('/');"
        "http.client.HTTPConnection(host).request('PUT', '/' + path, bytes(10_000_000), {'Content-Type': 'video/mp4',"
        "'Content-Range': 'bytes 0-9999999/66000000'}); input()"
    )
    sender = await asyncio.create_subprocess_exec(sys.executable, "-c", program, url, stdin=asyncio.subprocess.PIPE)

    async def arriving() -> bool:
        return bool((await driver.ledger())[0]["receiving"])

    await eventually(arriving)
    sender.kill()
    await sender.wait()
    await driver.http.delete(f"{driver.base_url}/_simulator/faults")

    async def gone() -> bool:
        return not (await driver.stats())["uploads"]

    await eventually(gone)
    assert await uploaded(driver, token, publish_id) == 0
    assert (await driver.put(url, 0, size, bytes(10 * MB))).status_code == 206


async def test_bytes_are_dropped_after_processing_unless_kept(http: httpx.AsyncClient, video: bytes) -> None:
    for keep in (False, True):
        async with running_simulator(
            Settings(port=0, processing_seconds=0, keep_uploads=keep, keep_newest_bytes=0)
        ) as simulator:
            driver = Driver(http, simulator.base_url)
            token = (await driver.connect())["access_token"]
            await driver.finished(await driver.upload(token, video))
            folder = simulator.state.uploads.folder

            async def settled(folder: Any = folder, keep: bool = keep) -> bool:
                return len(list(folder.iterdir())) == int(keep)

            await eventually(settled)
        assert not folder.exists()


async def test_the_newest_bytes_are_kept_for_a_while(http: httpx.AsyncClient, video: bytes, tmp_path: Path) -> None:
    room = len(video) * 2
    settings = Settings(port=0, processing_seconds=0, keep_newest_bytes=room, state_file=tmp_path / "state")
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        ids = [await driver.upload(token, video, str(number)) for number in range(3)]
        failed = await driver.upload(token, bytes(100))
        for publish_id in (*ids, failed):
            await driver.finished(publish_id)
        # Too large for all the room there is: it takes nobody's.
        large = await driver.upload(token, make_video(tmp_path / "large.mp4", seconds=0.2, size=room + 1).read_bytes())
        await driver.finished(large)
        shown = [(await http.get(f"{driver.base_url}/_simulator/media/{one}/0")).status_code for one in (*ids, failed, large)]
        assert sorted(shown) == [200, 200, 404, 404, 404]
        assert shown[3:] == [404, 404]
    async with running_simulator(settings) as simulator:
        again = [await http.get(f"{simulator.base_url}/_simulator/media/{one}/0") for one in ids]
        assert [answer.status_code for answer in again] == shown[:3]
        kept = next(answer for answer in again if answer.status_code == 200)
        assert (kept.content, kept.headers["content-type"]) == (video, "video/mp4")
        part = await http.get(str(kept.url), headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, video[:4])


async def test_lost_bytes_are_an_unknown_upload(shared: RunningSimulator, driver: Driver) -> None:
    _, publish_id, url = await start(driver, 66 * MB)
    await driver.put(url, 0, 66 * MB, bytes(10 * MB))
    publication = shared.state.ledger.get(publish_id)
    assert publication is not None
    shared.state.uploads.path(publication).unlink()
    assert (await driver.put(url, 10 * MB, 66 * MB, bytes(10 * MB))).status_code == 404
    assert (await driver.stats())["uploads"] == []


async def test_the_last_index_instead_of_a_count(http: httpx.AsyncClient) -> None:
    async with running_simulator(Settings(port=0, content_range_counts=False)) as simulator:
        driver = Driver(http, simulator.base_url)
        _, _, url = await start(driver, 1000)
        answer = await driver.put(url, 0, 1000, bytes(1000))
        assert answer.headers["content-range"] == "bytes 0-999/1000"
