"""All uploads of a replica together send no more than the setting allows."""

import asyncio
import time
from typing import Any

import pytest
from pydantic import ValidationError

from publisher.domain.job import State
from publisher.runner.upload_bandwidth import SLICE_BYTES, UploadBandwidth


async def test_without_a_limit_nobody_waits() -> None:
    await asyncio.wait_for(UploadBandwidth(0).take(10**12), 60)


async def test_many_share_one_bucket() -> None:
    bandwidth = UploadBandwidth(20 * SLICE_BYTES)
    began = time.monotonic()
    await asyncio.gather(*(bandwidth.take(6 * SLICE_BYTES) for _ in range(5)))
    # A second's worth at once, then 10 slices at 20 a second.
    assert time.monotonic() - began >= 0.45


async def test_uploads_are_held_to_it(world: Any) -> None:
    media = world.media(3_000_000)
    posts = [
        world.post(await world.account("demo_public"), media),
        world.post(await world.account("demo_private"), media, content={"privacy_level": "SELF_ONLY"}),
    ]
    began = time.monotonic()
    async with world.replica(upload_bytes_per_second=2_000_000, upload_concurrency=8):
        await world.accept(*posts)
        for post in posts:
            await world.state(post, State.SUCCEEDED)
    assert time.monotonic() - began >= 1.9


@pytest.mark.parametrize(
    ("largest", "least"),
    [({}, 728_180), ({"source_max_bytes": 4 * 1024**3}, 5_965_235), ({"upload_url_seconds": 86_400}, 500_000)],
)
def test_a_limit_that_the_largest_file_or_a_chunk_would_not_get_through_is_refused(
    world: Any, largest: dict[str, Any], least: int
) -> None:
    changes = {"upload_concurrency": 5, **largest}
    with pytest.raises(ValidationError, match=f"at least {least}: .*UPLOAD_CONCURRENCY"):
        world.settings(upload_bytes_per_second=least - 1, **changes)
    assert world.settings(upload_bytes_per_second=least, **changes).upload_bytes_per_second == least
