"""Drafts: a file into the creator's inbox, honest about what that is, until its creator posts it."""

from typing import Any

import pytest

from common.testing.eventually import eventually
from publisher.domain.job import Lane, State
from publisher.domain.watching import Question, watch_wait

DRAFT_SECONDS = [wait for looks in range(30) if (wait := watch_wait(Question.POSTED, looks)) is not None]
INIT = "/v2/post/publish/inbox/video/init/"
STATUS = "/v2/post/publish/status/fetch/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"


async def draft_of(world: Any, **changes: Any) -> Any:
    content = {"privacy_level": None}
    return world.post(await world.account(), world.media(), mode="inbox", content=content, **changes)


async def test_a_draft_is_delivered_and_then_posted_by_its_creator(world: Any) -> None:
    post = await draft_of(world)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        (item,) = await world.driver.ledger()
        assert (item["mode"], item["sha256"], item["draft"]) == ("inbox", post.media.sha256, "waiting")
        assert await outcomes(world, post) == [("sent_to_inbox", None)]
        waiting = await world.job(post)
        assert waiting.lane is Lane.FOLLOW
        assert 0 < (waiting.run_at - waiting.updated_at).total_seconds() <= DRAFT_SECONDS[0]
        posted = await world.driver.admin("POST", f"drafts/{item['publish_id']}/publish", {"title": "by its creator"})
        await world.due_now(post)
        await eventually(lambda: heard(world, post, 2))
    assert await outcomes(world, post) == [("sent_to_inbox", None), ("published", posted["post_id"])]
    job = await world.job(post)
    assert (job.checkpoint.outcome, job.tiktok_video_id, job.run_at) == ("published", posted["post_id"], None)
    assert await world.told(post) == ["started", "submitted", "succeeded", "succeeded"]
    assert len(await world.driver.ledger()) == 1
    # Creator info and privacy are about direct posts: a draft needs neither.
    assert CREATOR_INFO not in (await world.driver.stats())["requests"]


async def test_a_draft_that_waits_is_looked_at_less_and_less_often_and_in_the_end_not_any_more(world: Any) -> None:
    post = await draft_of(world)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        for looks in range(1, len(DRAFT_SECONDS)):
            await world.due_now(post, polls=looks - 1)
            await eventually(lambda looks=looks: looked(world, post, looks))
            job = await world.job(post)
            assert job.run_at is not None
            # Each look has the pause of its own, counted from when it was stored.
            assert 0 <= DRAFT_SECONDS[looks] - (job.run_at - job.updated_at).total_seconds() < 1
            if looks % 25 == 0:
                await world.driver.advance(61)
        await world.due_now(post)
        await eventually(lambda: looked(world, post, len(DRAFT_SECONDS)))
    job = await world.job(post)
    assert (job.run_at, job.checkpoint.state, job.checkpoint.outcome) == (None, State.SUCCEEDED, "sent_to_inbox")
    assert await outcomes(world, post) == [("sent_to_inbox", None)]


@pytest.mark.parametrize("fault", [{"status": 500, "times": 3}, {"status": 400, "code": "invalid_publish_id"}])
async def test_a_look_that_tells_nothing_changes_nothing(world: Any, fault: dict[str, Any]) -> None:
    post = await draft_of(world)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        await world.driver.fault(STATUS, **fault)
        await world.due_now(post)
        await eventually(lambda: looked_in_vain(world, post))
        job = await world.job(post)
        assert (job.checkpoint.state, job.checkpoint.outcome) == (State.SUCCEEDED, "sent_to_inbox")
        assert job.run_at is not None
    assert await world.told(post) == ["started", "submitted", "succeeded"]


@pytest.mark.parametrize("hidden", [False, True])
async def test_the_id_of_what_a_creator_made_of_a_draft_is_looked_for(world: Any, hidden: bool) -> None:
    post = await draft_of(world)
    if hidden:
        await world.driver.fault("processing", hide_post_id=True)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        (item,) = await world.driver.ledger()
        level = "PUBLIC_TO_EVERYONE" if hidden else "SELF_ONLY"
        await world.driver.admin("POST", f"drafts/{item['publish_id']}/publish", {"privacy_level": level})
        await world.due_now(post)
        await eventually(lambda: heard(world, post, 2))
        job = await world.job(post)
    # Its creator chose who may see it, so that nothing is known that would rule an id out.
    assert (job.checkpoint.outcome, job.tiktok_video_id) == ("published", None)
    assert job.run_at is not None


async def test_too_many_drafts_wait_so_the_next_one_is_put_off(world: Any) -> None:
    post = await draft_of(world)
    await world.driver.fault(INIT, status=403, code="spam_risk_too_many_pending_share")
    async with world.replica():
        await world.accept(post)
        deferred = await world.told_of(post, "deferred")
    assert deferred["code"] == "tiktok_spam_risk_too_many_pending_share"
    assert "drafts" in deferred["hint"]
    job = await world.job(post)
    assert (job.checkpoint.state, job.checkpoint.irrevocable_since) == (State.RUNNING, None)
    assert not await world.driver.ledger()


@pytest.mark.parametrize(
    ("endpoint", "fault", "inits"),
    [
        (INIT, {"lost_answer": True}, 2),
        ("upload", {"lost_answer": True}, 1),
        (STATUS, {"status": 500, "times": 2}, 1),
    ],
)
async def test_a_fault_changes_nothing_but_the_time(world: Any, endpoint: str, fault: dict[str, Any], inits: int) -> None:
    post = await draft_of(world)
    await world.driver.fault(endpoint, **fault)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    ledger = await world.driver.ledger()
    assert [item["sha256"] for item in ledger if item["sha256"] is not None] == [post.media.sha256]
    assert len(ledger) == inits


async def test_a_draft_that_tiktok_refuses_after_all_says_why(world: Any) -> None:
    post = await draft_of(world)
    await world.driver.fault("processing", fail_reason="picture_size_check_failed")
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("tiktok_picture_size_check_failed", False)


async def outcomes(world: Any, post: Any) -> list[tuple[str, str | None]]:
    told = [event.data for event in await world.events(post) if event.key == "publisher.publish.succeeded.v1"]
    return [(data["outcome"], data["tiktok_video_id"]) for data in told]


async def heard(world: Any, post: Any, count: int) -> bool:
    return len(await outcomes(world, post)) == count


async def looked(world: Any, post: Any, looks: int) -> bool:
    job = await world.job(post)
    return bool(job.checkpoint.polls == looks and job.lease_owner is None)


async def looked_in_vain(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return bool(job.checkpoint.polls + job.checkpoint.deferrals == 1 and job.lease_owner is None)
