"""Addresses that give no video that may be published: each failure by its code, and nothing kept of what came."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from common.testing.eventually import eventually
from common.testing.file_host import Act, FileHost, file_host, video_bytes
from publisher.clients.source_fetch import download, opening
from publisher.domain.job import State

DATA = video_bytes(300_000)
MKV = b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska" + bytes(1000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    async with file_host() as host:
        yield host


async def refused(world: Any, urls: dict[str, str], **changes: Any) -> list[dict[str, Any]]:
    """Publish from addresses, each of which ends its post with a code; return the events. Nothing is begun at TikTok or kept."""
    account = await world.account()
    posts = [(world.post_from(account, url), code) for url, code in urls.items()]
    events = []
    async with world.replica(**changes):
        await world.accept(*(post for post, _ in posts))
        for post, code in posts:
            await world.state(post, State.FAILED)
            failed: dict[str, Any] = await world.event(post, "failed")
            assert (failed["code"], failed["retryable"], bool(failed["hint"])) == (code, False, True)
            assert await world.told(post) == ["started", "failed"]
            assert not await world.inits(post)
            assert "SECRET" not in str([event.data for event in await world.events(post)])
            events.append(failed)
    assert not list((world.folder / "fetched").glob("*"))
    return events


BAD = (
    (Act(status=404), "source_not_found"),
    (Act(status=410), "source_not_found"),
    (Act(status=401), "source_forbidden"),
    (Act(status=403), "source_forbidden"),
    (Act(status=418), "source_refused"),
    (Act(status=304), "source_refused"),
    (Act(DATA, status=206), "source_refused"),
    (Act(DATA, headers={"Content-Encoding": "gzip"}), "source_not_a_video"),
    (Act(b"<!DOCTYPE html><html>" + bytes(500), headers={"Content-Type": "text/html"}), "source_not_a_video"),
    (Act(b'{"error": "no such file"}'), "source_not_a_video"),
    (Act(b"plain words" * 50, headers={"Content-Type": "text/plain"}), "source_not_a_video"),
    (Act(b""), "source_not_a_video"),
    (Act(MKV), "source_not_a_video"),
    (Act(PNG), "source_not_a_video"),
    (Act(DATA[:3]), "source_not_a_video"),
    (Act(status=302, headers={"Location": "http://10.0.0.1/v.mp4?k=SECRET"}), "source_url_not_allowed"),
    (Act(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"}), "source_url_not_allowed"),
    (Act(status=302, headers={"Location": "https://127.0.0.2/v.mp4"}), "source_url_not_allowed"),
    (Act(status=302, headers={"Location": "ftp://example.com/v.mp4"}), "source_url_not_allowed"),
    (Act(status=302, headers={"Location": "https://[/v.mp4"}), "source_url_not_allowed"),
    (Act(status=302, headers={"Location": "/20"}), "source_redirects"),
    (Act(status=302), "source_refused"),
)


async def test_each_ends_with_its_reason(world: Any, host: FileHost) -> None:
    await refused(world, {f"{host.put(f'/{number}', act)}?k=SECRET": code for number, (act, code) in enumerate(BAD)})


async def test_a_redirect_is_followed_and_nothing_of_it_told(world: Any, host: FileHost) -> None:
    host.put("/there", Act(DATA))
    url = host.put("/v.mp4", Act(status=307, headers={"Location": f"{host.base_url}/there?signed=SECRET%2f"}))
    post = world.post_from(await world.account(), url)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    assert [asked.path for asked in host.asked] == ["/v.mp4", "/there?signed=SECRET%2f"]


async def test_only_the_named_port_is_an_exception(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(DATA))
    await refused(world, {url: "source_url_not_allowed"}, source_url_allowed_hosts=["127.0.0.1:1"])
    assert not host.asked


async def test_too_many_bytes(world: Any, host: FileHost) -> None:
    announced, not_announced = host.put("/1", Act(DATA)), host.put("/2", Act(DATA, announced=None))
    urls = dict.fromkeys((announced, not_announced), "source_too_large")
    for failed in await refused(world, urls, source_max_bytes=len(DATA) - 1):
        assert str(len(DATA) - 1) in failed["message"]


@pytest.mark.parametrize("part", ["head", "body"])
async def test_a_trickle_is_not_waited_for(world: Any, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPEED_AFTER_SECONDS", 0.3)
    monkeypatch.setattr(opening, "ANSWER_SECONDS", 0.3)
    wanted = "source_too_slow" if part == "body" else "source_unreachable"
    async with file_host(drip_head=0.05 if part == "head" else None) as host:
        post = world.post_from(await world.account(), host.put("/v.mp4", Act(DATA, drip=0.01)))
        async with world.replica():
            await world.accept(post)
            await eventually(lambda: world.waits(post, wanted), 60)


async def test_an_address_that_nobody_knows_any_more(world: Any) -> None:
    post = world.post_from(await world.account(), "http://127.0.0.1:9/v.mp4")
    world.scheduler.addresses.clear()
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "source_unknown"


async def test_a_scheduler_that_is_away_is_waited_for(world: Any, host: FileHost) -> None:
    post = world.post_from(await world.account(), host.put("/v.mp4", Act(DATA)))
    world.scheduler.away = True
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: world.waits(post, "scheduler_unavailable"), 60)
        assert not host.asked
        world.scheduler.away = False
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)


async def test_what_tiktok_is_to_fetch_waits_for_its_addresses_too(world: Any) -> None:
    account, url = await world.account(), "https://videos.example.com/v?k=SECRET"
    posts = [world.post(account, None, transfer="pull", source_url=url), world.post(account, None, photo_urls=[url])]
    world.scheduler.away = True
    async with world.replica():
        await world.accept(*posts)
        for post in posts:
            await eventually(partial(world.waits, post, "scheduler_unavailable"), 60)
    assert not await world.driver.ledger()
