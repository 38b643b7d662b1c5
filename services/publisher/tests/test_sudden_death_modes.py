"""The process dies at the named point (SIGKILL) in the other modes, and another one finishes what it may."""

import asyncio
import signal
from typing import Any

import pytest

from publisher.domain.job import State

pytestmark = pytest.mark.integration

SEVERAL_CHUNKS = 66_000_000


async def killed_at(world: Any, post: Any, point: str, *, wanted: State) -> Any:
    """Return the job after one process died at the point and another one took over."""
    await world.accept(post)
    async with world.process(service_instance="first", crash_points_enabled=True, crash_point=point) as first:
        async with asyncio.timeout(30):
            assert await first.wait() == -signal.SIGKILL
        assert not (await world.job(post)).checkpoint.state.is_end
        async with world.process(service_instance="second"):
            job = await world.state(post, wanted, timeout=40)
    assert job.last_owner == "second"
    return job


@pytest.mark.parametrize(
    ("point", "size", "abandoned"),
    [
        ("after_init_intent", 1_000_000, 0),
        ("after_init_answer", 1_000_000, 1),
        ("mid_chunk:3", SEVERAL_CHUNKS, 0),
        ("after_last_chunk", 1_000_000, 0),
        ("while_polling", 1_000_000, 0),
    ],
)
async def test_a_draft_is_delivered_once(processes: Any, point: str, size: int, abandoned: int) -> None:
    world = processes
    post = world.post(await world.account(), world.media(size), mode="inbox", content={"privacy_level": None})
    job = await killed_at(world, post, point, wanted=State.SUCCEEDED)
    assert job.checkpoint.outcome == "sent_to_inbox"
    ledger = await world.driver.ledger()
    assert [item["sha256"] for item in ledger if item["bytes"]] == [post.media.sha256]
    assert len(ledger) == 1 + abandoned
