"""TikTok's webhooks: they shorten polling, fill in what the status leaves out, and never outvote it."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from common.testing.eventually import eventually
from publisher.domain.job import State
from publisher.storage import claims
from publisher.storage.tables import publication_claims
from publisher.usecases.hear_claim import hear_claim
from tiktok.publish_webhooks import publish_claim

STATUS = "/v2/post/publish/status/fetch/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
VIDEO = "7301234567890123456"
SLOW = pytest.mark.parametrize("simulator_changes", [{"processing_seconds": 3600}])


async def processing(world: Any, replica: Any, **changes: Any) -> Any:
    """Return a post that TikTok processes, not to be looked at for an hour."""
    post = world.post(await world.account(), world.media(), **changes)
    await world.accept(post)
    await world.told_of(post, "submitted")
    await eventually(lambda: rests(world, post))
    await settle(world, post)
    return post


async def settle(world: Any, post: Any) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text("UPDATE publish_jobs SET run_at = now() + interval '1 hour' WHERE post_id = :id AND lease_owner IS NULL"),
            {"id": post.post_id},
        )
    assert await rests(world, post)


async def rests(world: Any, post: Any) -> bool:
    return (await world.job(post)).lease_owner is None


async def looked(world: Any, post: Any, *, after: int) -> bool:
    job = await world.job(post)
    return bool(job.lease_owner is None and job.sequence > after)


@SLOW
async def test_a_webhook_makes_the_next_look_at_once(world: Any) -> None:
    async with world.replica() as replica:
        post = await processing(world, replica)
        await world.driver.advance(3600)
        assert await world.webhook(post, "complete", replica=replica) == 1
        await world.state(post, State.SUCCEEDED)
    succeeded = await world.event(post, "succeeded")
    assert (succeeded["evidence"], succeeded["tiktok_video_id"] is not None) == ("status", True)


@SLOW
@pytest.mark.parametrize("name", ["complete", "failed", "publicly_available", "inbox_delivered"])
async def test_what_a_webhook_says_is_nothing_beside_the_status(world: Any, name: str) -> None:
    """TikTok still processes the post, whatever its webhooks tell."""
    async with world.replica() as replica:
        post = await processing(world, replica)
        sequence = (await world.job(post)).sequence
        assert await world.webhook(post, name, replica=replica, reason="internal", post_id=VIDEO) == 1
        await eventually(lambda: looked(world, post, after=sequence))
    job = await world.job(post)
    assert (job.checkpoint.state, job.tiktok_status) == (State.RUNNING, "PROCESSING_UPLOAD")
    assert await world.told(post) == ["started", "submitted"]


@SLOW
async def test_one_that_comes_during_a_look_leads_to_another(world: Any) -> None:
    """The look had its answer already, and waits a minute after it: that would lose the news."""
    async with world.replica() as replica:
        post = await processing(world, replica)
        status = replica.tools.tiktok.status

        async def overtaken(*arguments: Any) -> Any:
            answer = await status(*arguments)
            replica.tools.tiktok.status = status
            await world.driver.advance(3600)
            assert await world.webhook(post, "complete") == 1
            return answer

        replica.tools.tiktok.status = overtaken
        await world.due_now(post, polls=20)
        replica.lanes[1].wake()
        await world.state(post, State.SUCCEEDED, timeout=10)


@pytest.mark.parametrize("simulator_changes", [{"moderation_seconds": 3600}])
async def test_the_video_id_comes_by_webhook(world: Any) -> None:
    async with world.replica() as replica:
        post = world.post(await world.account(), world.media())
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        await eventually(lambda: rests(world, post))
        await settle(world, post)
        assert await world.webhook(post, "publicly_available", replica=replica, post_id=int(VIDEO)) == 1
        identified = await world.told_of(post, "identified")
        assert (identified["tiktok_video_id"], identified["evidence"]) == (VIDEO, "webhook")
        assert identified["video_url"] == f"https://www.tiktok.com/@demo_public/video/{VIDEO}"
        # Everything is known: nothing more is looked at.
        for name in ("complete", "publicly_available", "no_longer_publicaly_available", "failed"):
            assert await world.webhook(post, name, replica=replica, post_id=VIDEO) == 0
    job = await world.job(post)
    assert (job.run_at, job.tiktok_video_id) == (None, VIDEO)


@pytest.mark.parametrize("simulator_changes", [{"moderation_seconds": 3600}])
async def test_an_id_that_came_first_is_told_with_the_success(world: Any) -> None:
    async with world.replica() as replica:
        post = world.post(await world.account(), world.media())
        await world.driver.fault("upload", delay=30, delay_at="answer")
        await world.accept(post)
        await eventually(lambda: _has_publish_id(world, post))
        assert await world.webhook(post, "publicly_available", replica=replica, post_id=VIDEO) >= 0
        await world.driver.admin("DELETE", "faults")
        await world.state(post, State.SUCCEEDED)
    assert (await world.event(post, "succeeded"))["tiktok_video_id"] == VIDEO


@pytest.mark.parametrize(("names", "state"), [(["complete"], State.SUCCEEDED), (["failed"], State.FAILED)])
async def test_without_a_status_they_count_after_a_while(world: Any, names: list[str], state: State) -> None:
    await world.driver.fault("processing", stuck=True)
    async with world.replica(webhook_patience_seconds=0.5) as replica:
        post = await processing(world, replica)
        await world.driver.fault(STATUS, status=500, times=1000)
        for name in names:
            await world.webhook(post, name, replica=replica, reason="internal")
        await world.state(post, state)
    told = await world.event(post, "succeeded" if state is State.SUCCEEDED else "failed")
    if state is State.SUCCEEDED:
        assert told["evidence"] == "webhook"
    else:
        assert (told["code"], told["retryable"]) == ("tiktok_internal", False)


async def test_webhooks_that_contradict_each_other_settle_nothing(world: Any) -> None:
    await world.driver.fault("processing", stuck=True)
    async with world.replica(webhook_patience_seconds=0, refused_patience_seconds=0) as replica:
        post = await processing(world, replica)
        await world.driver.fault(STATUS, status=400, code="invalid_publish_id", times=1000)
        async with world.database.transaction() as tx:
            for name in ("complete", "failed"):
                await _keep(world, tx, post, name)
        await world.due_now(post)
        replica.lanes[1].wake()
        await world.state(post, State.UNCONFIRMED)
    assert (await world.event(post, "unconfirmed"))["code"] == "tiktok_invalid_publish_id"


async def test_a_status_that_never_follows_its_webhook_is_unconfirmed_and_says_so(world: Any) -> None:
    await world.driver.fault("processing", stuck=True)
    async with world.replica() as replica:
        post = await processing(world, replica)
        await _set(world, post, "submitted_at = now() - interval '25 hours'")
        await world.webhook(post, "complete", replica=replica)
        await world.state(post, State.UNCONFIRMED)
    assert (await world.event(post, "unconfirmed"))["code"] == "status_contradicts_webhook"


@pytest.mark.parametrize("names", list(itertools.permutations(["failed", "complete"])))
async def test_a_failure_that_a_webhook_denies_is_not_repeated_by_the_machine(world: Any, names: tuple[str, ...]) -> None:
    await world.driver.fault("processing", stuck=True)
    async with world.replica() as replica:
        post = await processing(world, replica)
        for name in names:
            await world.webhook(post, name, reason="internal")
        publication = world.simulator.state.ledger.get((await world.job(post)).publish_id)
        world.simulator.state.processor.refuse(publication, "internal")
        replica.lanes[1].wake()
        await world.state(post, State.FAILED)
    told = await world.event(post, "failed")
    assert (told["code"], told["retryable"]) == ("webhook_denies_failure", False)
    assert "a webhook of TikTok's said that the post is there" in told["message"]


@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize(("dismissed", "is_sent"), [(0, False), (1, True)])
async def test_nor_is_one_that_a_webhook_denies_later(world: Any, dismissed: int, is_sent: bool, has_begun: bool) -> None:
    """The failure was told as one that passes, and only a person's word lets the next attempt begin, or go on to its init."""
    await world.driver.fault("processing", stuck=True)
    async with world.replica() as replica:
        post = await processing(world, replica)
        publication = world.simulator.state.ledger.get((await world.job(post)).publish_id)
        world.simulator.state.processor.refuse(publication, "internal")
        await world.due_now(post)
        replica.lanes[1].wake()
        await world.state(post, State.FAILED)
        assert (await world.event(post, "failed"))["retryable"] is True
        failed = await world.job(post)
        second = post.model_copy(update={"attempt": 2, "dismissed_attempts": dismissed})
        if has_begun:
            await world.driver.fault(CREATOR_INFO, delay=30)
            async with world.database.transaction() as tx:
                await tx.connection.execute(text("DELETE FROM creator_infos"))
            await world.accept(second)
            replica.lanes[0].wake()
            await eventually(lambda: _no_faults(world))
        assert await world.webhook(post, "complete", replica=replica, publish_id=failed.publish_id) == 1
        await eventually(lambda: _looked_at(world, failed))
        if has_begun:
            assert (await world.job(second)).checkpoint.state is (State.RUNNING if is_sent else State.FAILED)
            await world.driver.admin("DELETE", "faults")
        else:
            assert await world.told(post) == ["started", "submitted", "failed"]
            await world.accept(second)
            replica.lanes[0].wake()
        await eventually(lambda: _decided(world, post, 2))
        await eventually(lambda: not replica.lanes[0].running)
    assert len(await world.inits(post)) == (2 if is_sent else 1)
    if not is_sent:
        told = (await world.events(post))[-1].data
        assert (told["attempt"], told["code"], told["retryable"]) == (2, "webhook_denies_failure", False)
        assert "confirm_not_published" in told["hint"]


async def test_a_failed_attempt_that_turns_out_live_is_published(world: Any) -> None:
    """Its failure was told; the webhook makes us look, and TikTok's status says that it is there."""
    async with world.replica() as replica:
        post = world.post(await world.account(), world.media())
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        await _set(world, post, "state = 'failed', outcome = NULL, tiktok_video_id = NULL, tiktok_status = 'FAILED'")
        assert await world.webhook(post, "failed", replica=replica) == 0
        assert await world.webhook(post, "complete", replica=replica) == 1
        await world.state(post, State.SUCCEEDED)
    assert (await world.told(post))[-1] == "succeeded"


async def test_a_draft_that_its_creator_posts_is_published(world: Any) -> None:
    async with world.replica() as replica:
        post = world.post(await world.account(), world.media())
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        await _set(world, post, "outcome = 'sent_to_inbox', tiktok_video_id = NULL")
        assert await world.webhook(post, "inbox_delivered", replica=replica, publish_type="INBOX_SHARE") == 0
        assert await world.webhook(post, "complete", replica=replica, publish_type="INBOX_SHARE") == 1
        await eventually(lambda: _published(world, post))
    outcomes = [event.data["outcome"] for event in await world.events(post) if event.key.endswith("succeeded.v1")]
    assert outcomes[-1] == "published"


async def test_one_about_an_attempt_whose_state_is_not_known_is_a_reason_to_look(world: Any) -> None:
    post = world.post(await world.account(), None)
    await world.accept(post)
    open_id = world.accounts.tokens[post.account_id]["open_id"]
    await _set(world, post, f"publish_id = 'v_pub_url~v2.1', open_id = '{open_id}', state = 'elsewhere', run_at = NULL")
    content = {"publish_id": "v_pub_url~v2.1", "publish_type": "DIRECT_PUBLISH"}
    claim = publish_claim("post.publish.complete", content)
    assert claim is not None
    async with world.database.transaction() as tx:
        assert await hear_claim(tx, claim, open_id, datetime.now(UTC), wakes=[]) == 1


async def test_another_creators_webhook_and_an_unknown_publication_wake_nobody(world: Any) -> None:
    await world.driver.fault("processing", stuck=True)
    async with world.replica() as replica:
        post = await processing(world, replica)
        assert await world.webhook(post, "complete", open_id="somebody-else") == 0
        assert await world.webhook(post, "complete", publish_id="v_pub_file~v2-1.unknown") == 0
        assert await rests(world, post)


@pytest.mark.parametrize("names", list(itertools.permutations(["failed", "complete", "publicly_available"])))
async def test_order_and_repeats_do_not_matter(world: Any, names: tuple[str, ...]) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    times = {"failed": at, "complete": at + timedelta(seconds=1), "publicly_available": at + timedelta(seconds=2)}
    content = {"publish_id": "v~1", "reason": "internal", "post_id": VIDEO, "publish_type": "DIRECT_PUBLISH"}
    for name in (*names, *names):
        claim = publish_claim(f"post.publish.{name}", content)
        async with world.database.transaction() as tx:
            await hear_claim(tx, claim, "ann", times[name], wakes=[])
    claim = publish_claim("post.publish.failed", {**content, "reason": "older"})
    async with world.database.transaction() as tx:
        await hear_claim(tx, claim, "ann", at - timedelta(days=1), wakes=[])
    async with world.database.read() as connection:
        known = await claims.claims_of(connection, "v~1", "ann")
        assert await claims.claims_of(connection, "v~1", "bob") is None
    assert known is not None
    assert (known.failed_at, known.completed_at, known.public_at) == tuple(times.values())
    assert (known.fail_reason, known.video_ids, known.publish_type) == ("internal", (VIDEO,), "DIRECT_PUBLISH")


async def test_what_was_heard_long_ago_is_forgotten(world: Any) -> None:
    for publish_id in ("old", "new"):
        claim = publish_claim("post.publish.complete", {"publish_id": publish_id})
        async with world.database.transaction() as tx:
            await hear_claim(tx, claim, "ann", datetime.now(UTC), wakes=[])
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text("UPDATE publication_claims SET heard_at = now() - interval '31 days' WHERE publish_id = 'old'")
        )
        assert await claims.prune(tx.connection, timedelta(days=30), limit=10) == 1
    async with world.database.read() as connection:
        assert list(await connection.scalars(select(publication_claims.c.publish_id))) == ["new"]


async def _has_publish_id(world: Any, post: Any) -> bool:
    return (await world.job(post)).publish_id is not None


async def _looked_at(world: Any, job: Any) -> bool:
    statement = text("SELECT lease_owner IS NULL AND sequence > :before FROM publish_jobs WHERE id = :id")
    async with world.database.read() as connection:
        return bool(await connection.scalar(statement, {"id": job.id, "before": job.sequence}))


async def _no_faults(world: Any) -> bool:
    return not await world.driver.faults()


async def _decided(world: Any, post: Any, attempt: int) -> bool:
    told = [event.key for event in await world.events(post) if event.data["attempt"] == attempt]
    return any(key.endswith(("submitted.v1", "failed.v1")) for key in told)


async def _published(world: Any, post: Any) -> bool:
    return (await world.job(post)).checkpoint.outcome == "published"


async def _set(world: Any, post: Any, values: str) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(f"UPDATE publish_jobs SET {values} WHERE post_id = :id"), {"id": post.post_id})


async def _keep(world: Any, tx: Any, post: Any, name: str) -> None:
    claim = publish_claim(f"post.publish.{name}", {"publish_id": (await world.job(post)).publish_id, "reason": "internal"})
    assert claim is not None
    await claims.keep(tx.connection, claim, world.accounts.tokens[post.account_id]["open_id"], datetime.now(UTC))
