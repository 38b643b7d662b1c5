"""What TikTok fetches itself is published by its init alone: made once, never repeated, stopped only while TikTok fetches."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from common.testing.eventually import eventually
from publisher.domain.job import CancelState, Lane, State, Step
from publisher.domain.outcomes import Defer, Reason
from publisher.domain.tiktok_limits import INIT as INIT_LIMIT
from publisher.errors import LeaseLost
from publisher.runner.steps import init_gate
from publisher.storage import jobs
from publisher.usecases.cancel_job import CancelOutcome, cancel_job
from tiktok import _http
from tiktok_simulator.media_host import MediaHost, Resource, media_host

INIT = "/v2/post/publish/video/init/"
INBOX_INIT = "/v2/post/publish/inbox/video/init/"
STATUS = "/v2/post/publish/status/fetch/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
CANCEL = "/v2/post/publish/cancel/"
REFUSED_TOKEN = {"endpoint": INIT, "status": 401, "code": "access_token_invalid"}
DATA = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def simulator_changes() -> dict[str, Any]:
    return {"pull_loopback": True}


@pytest_asyncio.fixture(loop_scope="session")
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


async def pull_of(world: Any, url: str, **changes: Any) -> Any:
    return world.post(await world.account(), None, transfer="pull", source_url=url, **changes)


async def publications(world: Any) -> list[tuple[str, str]]:
    return [(item["mode"], item["sha256"]) for item in await world.driver.ledger() if item["status"] != "FAILED"]


async def test_a_pull_goes_out_once_and_is_told(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4?signature=secret", DATA))
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.driver.ledger()
    assert (item["source"], item["sha256"], item["title"]) == ("PULL_FROM_URL", SHA256, post.content.title)
    assert await world.told(post) == ["started", "submitted", "succeeded"]
    submitted = await world.event(post, "submitted")
    assert (submitted["publish_id"], submitted["total_bytes"]) == (item["publish_id"], None)
    assert submitted["log_id"], "TikTok's, of the answer to the init"
    assert (await world.event(post, "succeeded"))["publish_id"] == item["publish_id"]


async def test_an_answer_that_its_replica_may_not_store_any_more_is_kept(
    world: Any, host: MediaHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ended while the database was away: whoever goes on knows which publication it is."""
    save, answers = jobs.save, []

    async def losing(connection: Any, job_id: Any, token: int, changes: Any, **options: Any) -> Any:
        if changes.get("publish_id") and not answers:
            answers.append((changes["publish_id"], changes["init_log_id"]))
            raise LeaseLost
        return await save(connection, job_id, token, changes, **options)

    monkeypatch.setattr(jobs, "save", losing)
    post = await pull_of(world, host.put("/a.mp4", DATA))
    async with world.replica() as replica:
        await world.accept(post)
        await eventually(lambda: answers and not replica.lanes[0].running, 60)
        await world.end_leases(replica.tools.replica)
        replica.lanes[1].wake()
        job = await world.state(post, State.SUCCEEDED)
    assert [(job.publish_id, job.init_log_id)] == answers
    assert len(await world.driver.ledger()) == 1


async def test_a_draft_by_pull(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA), mode="inbox", content={"privacy_level": None})
    async with world.replica():
        await world.accept(post)
        job = await world.state(post, State.SUCCEEDED)
    assert job.checkpoint.outcome == "sent_to_inbox"
    assert await publications(world) == [("inbox", SHA256)]


@pytest.mark.parametrize(
    ("mode", "fault", "published"),
    [
        ("direct", {"lost_answer": True}, 1),
        ("direct", {"drop": True}, 0),
        ("direct", {"status": 500}, 0),
        ("direct", {"status": 408}, 0),
        ("direct", {"status": 502, "code": "internal_error"}, 0),
        ("inbox", {"lost_answer": True}, 1),
        # Whether a fault that TikTok tells with 200 came before or after the effect, nothing says.
        ("direct", {"status": 200, "code": "brand_new_code"}, 0),
        ("direct", {"status": 200, "code": "internal"}, 0),
        ("inbox", {"status": 200, "code": "internal"}, 0),
    ],
)
async def test_an_init_of_unknown_outcome_is_never_repeated(
    world: Any, host: MediaHost, mode: str, fault: dict[str, Any], published: int
) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA), mode=mode)
    await world.driver.fault(INIT if mode == "direct" else INBOX_INIT, **fault)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
        # Another attempt does not start either: the first one may have published.
        second = post.model_copy(update={"attempt": 2})
        await world.accept(second)
        await eventually(lambda: world.waits(second, "earlier_attempt_open"))
    unconfirmed = await world.event(post, "unconfirmed")
    assert (unconfirmed["code"], unconfirmed["publish_id"]) == ("init_outcome_unknown", None)
    assert ("profile" if mode == "direct" else "inbox") in unconfirmed["hint"]
    assert "an hour" in unconfirmed["hint"]
    assert (unconfirmed["log_id"] is not None) == ("status" in fault), "TikTok's, where it answered"
    assert ("did not answer" in unconfirmed["message"]) == ("status" not in fault)
    assert len(await world.driver.ledger()) == published


async def test_an_init_that_is_not_answered_in_time_is_never_repeated(
    world: Any, host: MediaHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    await world.driver.fault(INIT, delay=30)
    monkeypatch.setitem(_http.send.__kwdefaults__, "phases", httpx.Timeout(0.5))
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
    await world.driver.admin("DELETE", "faults")
    assert (await world.event(post, "unconfirmed"))["code"] == "init_outcome_unknown"
    assert len(await world.driver.ledger()) <= 1


async def test_a_refusal_had_no_effect_so_the_init_is_made_again(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    await world.driver.fault(INIT, status=429, code="rate_limit_exceeded")
    async with world.replica():
        await world.accept(post)
        assert (await world.told_of(post, "deferred"))["code"] == "tiktok_rate_limit_exceeded"
        waiting = await world.job(post)
        assert (waiting.checkpoint.step, waiting.checkpoint.irrevocable_since) == (Step.CREATOR_INFO, None)
        await world.pass_time(61)
        await world.state(post, State.SUCCEEDED)
    assert await publications(world) == [("direct", SHA256)]


async def test_an_init_that_never_left_is_made_again(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    async with world.replica() as replica:
        reach = replica.tools.crash.reach
        away = []

        def moved(point: str) -> None:
            # TikTok is gone between the intent and the call: nobody listens there.
            if point == "after_init_intent" and not away:
                away.append(replica.tools.tiktok._once._api_url)
                replica.tools.tiktok._once._api_url = "http://127.0.0.1:9"
            reach(point)

        object.__setattr__(replica.tools.crash, "reach", moved)
        await world.accept(post)
        assert (await world.told_of(post, "started"))["attempt"] == 1
        await eventually(lambda: world.waits(post, "tiktok_unreachable"))
        assert (await world.job(post)).checkpoint.irrevocable_since is None
        replica.tools.tiktok._once._api_url = away[0]
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    assert await publications(world) == [("direct", SHA256)]


async def test_a_refused_token_is_renewed_and_the_init_made_once(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    world.accounts.renewed = world.accounts.tokens
    await world.driver.fault(INIT, status=401, code="access_token_invalid")
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    assert len(world.accounts.refused) == 1
    assert await publications(world) == [("direct", SHA256)]


@pytest.mark.parametrize("transfer", ["pull", "file"])
@pytest.mark.parametrize("is_cancelled", [False, True], ids=["goes on", "cancelled"])
async def test_the_init_after_a_refused_token_counts_too(
    world: Any, host: MediaHost, transfer: str, is_cancelled: bool
) -> None:
    """Five of six are used up and the sixth is refused: for another one there is no room, and the refused one had no effect."""
    if transfer == "pull":
        post = await pull_of(world, host.put("/a.mp4", DATA))
    else:
        post = world.post(await world.account(), world.media())
    await world.spend(post.account_id, replace(INIT_LIMIT, allowed=INIT_LIMIT.allowed - 1))
    await world.pass_time(INIT_LIMIT.gap)
    await world.driver.fault(INIT, status=401, code="access_token_invalid")
    world.accounts.renewed = world.accounts.tokens

    async def cancel() -> None:
        if world.accounts.asked == 2:
            async with world.database.transaction() as tx:
                await tx.connection.execute(text("UPDATE publish_jobs SET cancel_state = 'wanted'"))

    world.accounts.meanwhile = cancel if is_cancelled else None
    async with world.replica():
        await world.accept(post)
        if is_cancelled:
            await world.state(post, State.CANCELLED)
        else:
            await eventually(lambda: world.waits(post, "tiktok_quota"))
            assert (await world.job(post)).checkpoint.irrevocable_since is None
            assert await world.inits(post) == []
            await world.pass_time(61)
            await world.due_now(post)
            await world.state(post, State.SUCCEEDED)
    assert len(await world.inits(post)) == (not is_cancelled)
    assert len(world.accounts.refused) == 1


async def test_an_address_that_is_not_verified_is_explained(world: Any) -> None:
    post = await pull_of(world, "https://videos.example.com/a.mp4")
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("tiktok_url_ownership_unverified", False)
    assert "portal" in failed["hint"]


async def test_what_tiktok_cannot_fetch_is_tried_again_as_another_attempt(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", Resource(status=404)))
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
        host.put("/a.mp4", DATA)
        second = post.model_copy(update={"attempt": 2})
        await world.accept(second)
        await world.state(second, State.SUCCEEDED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("tiktok_video_pull_failed", True)
    assert await publications(world) == [("direct", SHA256)]


async def test_a_fetch_without_an_end_is_unconfirmed(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    await world.driver.fault("download", stuck=True)
    async with world.replica(unconfirmed_after_seconds=1.5):
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
    unconfirmed = await world.event(post, "unconfirmed")
    assert (unconfirmed["code"], unconfirmed["publish_id"] is None) == ("status_never_ended", False)


async def test_a_cap_that_is_used_up_costs_no_init(world: Any, host: MediaHost) -> None:
    first = await pull_of(world, host.put("/a.mp4", DATA))
    second = world.post(first.account_id, None, transfer="pull", source_url=first.source_url)
    async with world.replica(daily_posts_per_creator=1):
        await world.accept(first)
        await world.state(first, State.SUCCEEDED)
        await world.accept(second)
        assert (await world.told_of(second, "deferred"))["code"] == "tiktok_daily_posts"
    assert (await world.job(second)).checkpoint.irrevocable_since is None
    assert len(await world.driver.ledger()) == 1


async def test_what_others_use_up_while_it_is_prepared_costs_no_init(
    world: Any, host: MediaHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    taken, take = [], init_gate.take_init

    async def used_up_once(run: Any) -> Any:
        if taken:
            return await take(run)
        taken.append(run.job.checkpoint)
        return Defer(0.05, Reason("tiktok_quota", "Used up."))

    monkeypatch.setattr(init_gate, "take_init", used_up_once)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    assert [(checkpoint.step, checkpoint.irrevocable_since) for checkpoint in taken] == [(Step.CREATOR_INFO, None)]
    assert await publications(world) == [("direct", SHA256)]


async def cancelled(world: Any, post: Any) -> CancelOutcome:
    async with world.database.transaction() as tx:
        return await cancel_job(tx, post.post_id, post.attempt, outbox=world.outbox, replica="test")


async def under_way(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return job.tiktok_status == "PROCESSING_DOWNLOAD" and job.lease_owner is None


async def test_a_fetch_under_way_is_given_up_when_a_person_wants_it(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", Resource(DATA, stop_after=1000)))
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: under_way(world, post))
        assert await cancelled(world, post) is CancelOutcome.UNDECIDED
        job = await world.state(post, State.CANCELLED)
        assert await cancelled(world, post) is CancelOutcome.CANCELLED
    assert (job.checkpoint.cancel_state, job.lane, job.run_at) == (CancelState.ASKED, Lane.FOLLOW, None)
    assert await world.told(post) == ["started", "submitted", "cancelled"]
    assert await publications(world) == []
    (item,) = await world.driver.ledger()
    assert item["fail_reason"] == "publish_cancelled"


async def test_when_tiktok_says_that_it_is_too_late_it_is_published(world: Any, host: MediaHost) -> None:
    resource = Resource(DATA, stop_after=len(DATA) - 1000)
    post = await pull_of(world, host.put("/a.mp4", resource))
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: under_way(world, post))
        assert await cancelled(world, post) is CancelOutcome.UNDECIDED
        await eventually(lambda: has_cancel_state(world, post, CancelState.REFUSED))
        assert await cancelled(world, post) is CancelOutcome.TOO_LATE
        resource.go_on.set()
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    assert await publications(world) == [("direct", SHA256)]
    assert await world.told(post) == ["started", "submitted", "succeeded"]


async def test_a_wish_that_comes_during_the_init_is_remembered(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", Resource(DATA, stop_after=1000)))
    await world.driver.fault(INIT, delay=30)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: at_step(world, post, Step.INIT_INTENDED))
        assert await cancelled(world, post) is CancelOutcome.UNDECIDED
        await world.driver.admin("DELETE", "faults")
        await world.state(post, State.CANCELLED)
    assert await publications(world) == []
    assert len(await world.driver.ledger()) == 1


async def test_a_wish_that_comes_during_an_init_that_is_refused_ends_it_there(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    await world.driver.fault(INIT, delay=30, status=429, code="rate_limit_exceeded")
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: at_step(world, post, Step.INIT_INTENDED))
        assert await cancelled(world, post) is CancelOutcome.UNDECIDED
        await world.driver.admin("DELETE", "faults")
        await world.state(post, State.CANCELLED)
    assert await world.told(post) == ["started", "cancelled"]
    assert not await world.driver.ledger()


@pytest.mark.parametrize(
    ("fault", "renewals"),
    [({"endpoint": CREATOR_INFO, "delay": 30}, 0), ({**REFUSED_TOKEN, "delay": 30}, 0), (REFUSED_TOKEN, 1)],
    ids=["before its init", "when its token is refused", "while its token is renewed"],
)
async def test_asked_to_end_it_leaves_the_init_to_another(
    world: Any, host: MediaHost, fault: dict[str, Any], renewals: int
) -> None:
    """Nothing of it is known to be under way, however short the time to drain: an init without an answer would be unconfirmed."""
    post = await pull_of(world, host.put("/a.mp4", DATA))
    world.accounts.renewed = world.accounts.tokens
    await world.driver.fault(**fault)
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        if world.accounts.asked == 2:
            begun.set()
            await goes_on.wait()

    world.accounts.meanwhile = slowly if renewals else None
    async with world.replica(drain_seconds=32.0) as replica:
        await world.accept(post)
        await (asyncio.wait_for(begun.wait(), 60) if renewals else eventually(lambda: called(world)))
        if renewals:
            assert (await world.job(post)).checkpoint.irrevocable_since is None
        ending = [asyncio.create_task(lane.stop()) for lane in replica.lanes]
        await eventually(lambda: all_end(replica))
        await world.driver.admin("DELETE", "faults")
        goes_on.set()
        await asyncio.gather(*ending)
    handed_back = await world.job(post)
    assert (handed_back.checkpoint.step, handed_back.lease_owner) == (Step.CREATOR_INFO, None)
    assert handed_back.checkpoint.irrevocable_since is None
    assert (len(world.accounts.refused), await world.driver.ledger()) == (renewals, [])
    async with world.replica():
        await world.state(post, State.SUCCEEDED)
    assert await publications(world) == [("direct", SHA256)]


async def test_a_wish_whose_init_was_lost_cannot_be_granted(world: Any, host: MediaHost) -> None:
    post = await pull_of(world, host.put("/a.mp4", DATA))
    await world.driver.fault(INIT, delay=30, lost_answer=True)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: at_step(world, post, Step.INIT_INTENDED))
        assert await cancelled(world, post) is CancelOutcome.UNDECIDED
        await world.driver.admin("DELETE", "faults")
        await world.state(post, State.UNCONFIRMED)
        assert await cancelled(world, post) is CancelOutcome.TOO_LATE


@pytest.mark.parametrize("fault", [{"status": 500, "times": 3}, {"lost_answer": True, "times": 3}])
async def test_without_an_answer_tiktok_is_asked_again_and_its_status_decides(
    world: Any, host: MediaHost, fault: dict[str, Any]
) -> None:
    post = await pull_of(world, host.put("/a.mp4", Resource(DATA, stop_after=1000)))
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: under_way(world, post))
        await world.driver.fault(CANCEL, **fault)
        assert await cancelled(world, post) is CancelOutcome.UNDECIDED
        await world.state(post, State.CANCELLED)
    assert (await world.told(post))[-1] == "cancelled"
    assert await publications(world) == []


async def test_a_file_has_no_fetch_that_could_be_given_up(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    await world.driver.fault("processing", stuck=True)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: at_step(world, post, Step.POLLING))
        assert await cancelled(world, post) is CancelOutcome.TOO_LATE
    assert (await world.job(post)).checkpoint.cancel_state is None


async def has_cancel_state(world: Any, post: Any, state: CancelState) -> bool:
    job = await world.job(post)
    return job.checkpoint.cancel_state is state and job.lease_owner is None


async def at_step(world: Any, post: Any, step: Step) -> bool:
    return bool((await world.job(post)).checkpoint.step is step)


async def called(world: Any) -> bool:
    """Whether the fault that waits was met."""
    return not await world.driver.faults()


async def all_end(replica: Any) -> bool:
    return all(lane._stopping.is_set() for lane in replica.lanes)
