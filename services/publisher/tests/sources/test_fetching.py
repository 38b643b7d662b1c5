"""Posts whose video is at an address: fetched, noted, sent; resumed when the connection breaks, begun anew when that cannot be."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest

from common.clock import utc_now
from common.testing.eventually import eventually
from common.testing.file_host import Act, FileHost, file_host, video_bytes
from publisher.clients.source_fetch import download
from publisher.domain.job import State

BIG = 3_000_000
HALF = BIG // 2
DATA, OTHER = video_bytes(BIG), video_bytes(BIG + 1000, seed=2)
YESTERDAY = format_datetime(utc_now() - timedelta(days=1), usegmt=True)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    async with file_host() as host:
        yield host


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken connections are tried again without a pause."""
    monkeypatch.setattr(download, "BREAK_WAITS_SECONDS", (0.0,) * download.MAX_BREAKS)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def published(world: Any, url: str, **changes: Any) -> Any:
    """Publish what is at an address, and return its only publication."""
    post = world.post_from(await world.account(), url)
    async with world.replica(**changes):
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert len(await world.inits(post)) == 1
    return item


async def deferred(world: Any, url: str, code: str, **changes: Any) -> Any:
    """Return the job of a post that waits for what is at an address."""
    post = world.post_from(await world.account(), url)
    async with world.replica(**changes):
        await world.accept(post)
        await eventually(lambda: world.waits(post, code), 60)
        job = await world.job(post)
    assert (job.checkpoint.state, job.lease_owner) == (State.RUNNING, None)
    assert not await world.inits(post)
    assert not list((world.folder / "fetched").glob("*"))
    return job


async def test_a_video_is_fetched_and_goes_out_once(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(DATA, etag='"1"'))
    post = world.post_from(await world.account(), f"{url}?signature=SECRET%2F+a")
    async with world.replica():
        await world.accept(post)
        job = await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert (item["sha256"], item["bytes"]) == (sha256(DATA), BIG)
    assert (job.fetched.sha256, job.fetched.size_bytes, job.fetched.content_type) == (sha256(DATA), BIG, "video/mp4")
    assert [asked.path for asked in host.asked] == ["/v.mp4?signature=SECRET%2F+a"]
    assert host.asked[0].headers["accept-encoding"] == "identity"
    assert await world.told(post) == ["started", "submitted", "succeeded"]
    assert not any("SECRET" in str(event) for event in await world.events(post))


@pytest.mark.parametrize(
    "named", [{"etag": '"v1"'}, {"last_modified": YESTERDAY}, {"etag": 'W/"v1"', "last_modified": YESTERDAY}]
)
async def test_a_broken_connection_is_resumed_where_it_broke(world: Any, host: FileHost, named: dict[str, str]) -> None:
    url = host.put("/v.mp4", Act(DATA, cut_after=HALF, **named), Act(DATA, cut_after=1000, **named), Act(DATA, **named))
    assert (await published(world, url))["sha256"] == sha256(DATA)
    first, *rest = host.asked
    assert "range" not in first.headers
    offsets = [int(asked.headers["range"].removeprefix("bytes=").removesuffix("-")) for asked in rest]
    assert 0 < offsets[0] < offsets[1] < BIG
    strong = named["last_modified"] if "last_modified" in named else named["etag"]
    assert {asked.headers["if-range"] for asked in rest} == {strong}


ANEW = (
    # Nothing tells whether the rest belongs to it.
    (Act(OTHER, cut_after=HALF), Act(DATA)),
    (Act(OTHER, cut_after=HALF, etag='W/"1"'), Act(DATA, etag='W/"1"')),
    # The server gives whole files only.
    (Act(DATA, cut_after=HALF, etag='"1"'), Act(DATA, etag='"1"', ranges=False)),
    # It has changed.
    (Act(OTHER, cut_after=HALF, etag='"1"'), Act(DATA, etag='"2"')),
    # It has changed, and the server does not heed If-Range.
    (Act(OTHER, cut_after=HALF, etag='"1"'), Act(DATA, etag='"2"', heeds_if_range=False)),
    (Act(OTHER, cut_after=HALF, etag='"1"'), Act(DATA, heeds_if_range=False)),
    # More comes than was announced.
    (Act(DATA, cut_after=HALF, etag='"1"'), Act(DATA, etag='"1"', announced=None, tail=b"more"), Act(DATA)),
    # Its total is another one now, though its tag is the same.
    (Act(OTHER, cut_after=HALF, etag='"1"'), Act(DATA, etag='"1"')),
)


async def test_what_cannot_be_resumed_is_begun_anew(world: Any, host: FileHost) -> None:
    account = await world.account()
    posts = [world.post_from(account, host.put(f"/{number}", *acts)) for number, acts in enumerate(ANEW)]
    async with world.replica():
        await world.accept(*posts)
        for post in posts:
            await eventually(partial(_has_fetched, world, post), 60)
            assert (await world.job(post)).fetched.sha256 == sha256(DATA)


async def _has_fetched(world: Any, post: Any) -> bool:
    return (await world.job(post)).fetched is not None


async def test_a_rest_of_unknown_length_that_breaks_is_resumed(world: Any, host: FileHost) -> None:
    """Where no length is told, the connection's end looks like the file's."""
    rest = Act(DATA, etag='"1"', announced=None, cut_after=1000)
    url = host.put("/v.mp4", Act(DATA, etag='"1"', cut_after=HALF), rest, Act(DATA, etag='"1"'))
    assert (await published(world, url))["sha256"] == sha256(DATA)
    assert len(host.asked) == 3


async def test_a_connection_that_is_reset_loses_what_was_on_its_way(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(DATA, etag='"1"', cut_after=HALF, resets=True), Act(DATA, etag='"1"'))
    assert (await published(world, url))["sha256"] == sha256(DATA)


async def test_a_length_that_is_not_told_ends_with_the_connection(world: Any, host: FileHost) -> None:
    assert (await published(world, host.put("/v.mp4", Act(DATA, announced=None))))["sha256"] == sha256(DATA)


async def test_fewer_bytes_than_announced_are_no_file(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(DATA, announced=BIG + 1, etag='"1"', ranges=False))
    await deferred(world, url, "source_broken_off")
    assert len(host.asked) >= 3


async def test_a_file_that_changes_all_the_time_waits(world: Any, host: FileHost) -> None:
    acts = [Act(video_bytes(BIG + n, seed=n), cut_after=HALF, etag=f'"{n}"') for n in range(20)]
    await deferred(world, host.put("/v.mp4", *acts), "source_broken_off")


async def test_a_stalled_connection_is_given_up_and_resumed(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(DATA, stop_after=HALF, etag='"1"'), Act(DATA, etag='"1"'))
    assert (await published(world, url, source_stall_seconds=3.0))["sha256"] == sha256(DATA)
    assert [("range" in asked.headers) for asked in host.asked] == [False, True]


async def test_a_busy_server_in_the_middle_of_a_file_is_asked_again(world: Any, host: FileHost) -> None:
    busy = Act(status=503)
    url = host.put("/v.mp4", Act(DATA, cut_after=HALF, etag='"1"'), busy, busy, Act(DATA, etag='"1"'))
    assert (await published(world, url))["sha256"] == sha256(DATA)
    assert len(host.asked) == 4


async def test_a_server_that_stays_away_in_the_middle_of_a_file_is_left_for_later(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(DATA, cut_after=HALF, etag='"1"'), Act(status=503, headers={"Retry-After": "120"}))
    job = await deferred(world, url, "source_unavailable")
    assert len(host.asked) == 1 + download.MAX_BREAKS
    assert timedelta(seconds=100) < job.run_at - job.updated_at < timedelta(seconds=140)


async def test_a_file_that_is_gone_in_the_middle_has_failed(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(DATA, cut_after=HALF, etag='"1"'), Act(status=404))
    post = world.post_from(await world.account(), url)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "source_not_found"
    assert not list((world.folder / "fetched").glob("*"))


async def test_a_server_that_is_back_costs_no_attempt(world: Any, host: FileHost) -> None:
    post = world.post_from(await world.account(), host.put("/v.mp4", Act(status=503), Act(DATA)))
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: world.waits(post, "source_unavailable"), 60)
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert (item["sha256"], (await world.job(post)).attempt) == (sha256(DATA), 1)


async def test_a_long_wait_is_told_with_its_forecast_and_ends_with_the_first_bytes(world: Any, host: FileHost) -> None:
    url = host.put("/v.mp4", Act(status=500, headers={"Retry-After": "60"}), Act(DATA))
    post = world.post_from(await world.account(), url)
    async with world.replica():
        await world.accept(post)
        event = await world.told_of(post, "deferred")
        assert (event["code"], event["until"] is not None, "500" in event["message"]) == ("source_unavailable", True, True)
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    assert await world.told(post) == ["started", "deferred", "started", "submitted", "succeeded"]


async def test_nobody_answers(world: Any) -> None:
    await deferred(world, "http://127.0.0.1:9/v.mp4", "source_unreachable")
