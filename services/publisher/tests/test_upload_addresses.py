"""Upload addresses in the database: sealed, opened by every replica, over when the key has changed."""

from typing import Any

import pytest
from pydantic import SecretStr

from common.testing.eventually import eventually
from common.testing.keys import ServiceKeys
from publisher.clients.media_store import MediaUnavailable
from publisher.domain.job import State
from publisher.upload_addresses import UploadAddresses

ADDRESS = "https://upload.test/video/?upload_id=1&upload_token=canary"


def key() -> SecretStr:
    return SecretStr(ServiceKeys().private_text("publisher"))


def test_only_who_has_the_key_can_read_an_address() -> None:
    mine = key()
    one, same, other = UploadAddresses(mine), UploadAddresses(mine), UploadAddresses(key())
    sealed = one.seal(ADDRESS)
    assert "canary" not in sealed
    assert one.seal(ADDRESS) != sealed
    assert same.open(sealed) == ADDRESS
    assert other.open(sealed) is None
    assert one.open("nonsense") is None


def test_an_address_from_before_is_taken_as_it_is() -> None:
    assert UploadAddresses(key()).open(ADDRESS) == ADDRESS


def fail_once(media: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the storage be away once, at the second chunk."""
    read, failures = media.read, [MediaUnavailable("x")]

    def failing(storage_key: str, first: int, last: int) -> Any:
        if first and failures:
            raise failures.pop()
        return read(storage_key, first, last)

    monkeypatch.setattr(media, "read", failing)


@pytest.mark.integration
async def test_an_upload_goes_on_from_a_sealed_address(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    post = world.post(await world.account(), world.media(71_000_000))
    async with world.replica() as replica:
        fail_once(replica.tools.media, monkeypatch)
        await world.accept(post)
        await eventually(lambda: world.waits(post, "storage_unavailable"))
        stored = (await world.job(post)).upload_url
        assert "http" not in stored
        assert replica.tools.addresses.open(stored).startswith("http")
        await world.due_now(post, deferrals=0)
        await world.state(post, State.SUCCEEDED)
    assert (await world.job(post)).upload_url is None
    assert len(await world.publications(post)) == 1


@pytest.mark.integration
async def test_an_address_sealed_by_another_key_is_over(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    post = world.post(await world.account(), world.media(71_000_000))
    async with world.replica() as replica:
        fail_once(replica.tools.media, monkeypatch)
        await world.accept(post)
        await eventually(lambda: world.waits(post, "storage_unavailable"))
        await world.due_now(post, upload_url=UploadAddresses(key()).seal(ADDRESS), deferrals=0)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("upload_expired", True)
    assert await world.publications(post) == []


@pytest.mark.integration
async def test_an_address_sealed_by_another_key_is_no_proof_after_the_last_chunk(world: Any) -> None:
    """The last chunk may be there, or a replica that still has the old key may be sending it."""
    post = world.post(await world.account(), world.media())
    await world.driver.fault("upload", status=503, times=3)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: world.waits(post, "tiktok_upload_unavailable"))
        await world.due_now(post, upload_url=UploadAddresses(key()).seal(ADDRESS), deferrals=0)
        await eventually(lambda: has_ended(world, post))
        checkpoint = (await world.job(post)).checkpoint
    assert (checkpoint.state, checkpoint.upload_ended_code) == (State.RUNNING, "upload_unknown")


async def has_ended(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return job.checkpoint.upload_ended_at is not None and job.lease_owner is None
