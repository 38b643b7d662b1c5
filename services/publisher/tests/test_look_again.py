"""One more look at attempts of unknown outcome, asked for over HTTP: what it tells, and when it tells nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from common.errors import Problem
from common.ids import uuid7
from common.testing.eventually import eventually
from common.testing.http_server import serving
from publisher.api import posts as api
from publisher.app import wire
from publisher.domain.job import State
from publisher.domain.watching import LOOKED_FOR
from publisher.usecases import look_again

pytestmark = pytest.mark.integration

STATUS = "/v2/post/publish/status/fetch/"


Ask = Callable[..., Awaitable[dict[str, Any]]]


@asynccontextmanager
async def asking(world: Any) -> AsyncIterator[Ask]:
    """Give a way to ask one replica again and again."""
    app = wire(world.settings(lease_seconds=15.0))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60.0) as http:

        async def ask(post: Any, attempt: int = 1) -> dict[str, Any]:
            headers = world.keys.authorization("scheduler", "publisher")
            answer = await http.post(f"/internal/posts/{post.post_id}/look", json={"attempt": attempt}, headers=headers)
            assert answer.status_code == 200, answer.text
            body: dict[str, Any] = answer.json()
            return body

        yield ask


async def ask(world: Any, post: Any, attempt: int = 1) -> dict[str, Any]:
    """Ask a replica that knows nothing of earlier questions."""
    async with asking(world) as ask_once:
        return await ask_once(post, attempt)


async def unconfirmed(world: Any, *, live: bool) -> Any:
    post = world.post(await world.account(), world.media())
    if not live:
        await world.driver.fault("processing", stuck=True)
    async with world.replica():
        await world.accept(post)
        await (world.state(post, State.SUCCEEDED) if live else world.told_of(post, "submitted"))
        await eventually(lambda: rests(world, post))
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text(
                "UPDATE publish_jobs SET state = 'unconfirmed', outcome = NULL, tiktok_video_id = NULL, tiktok_status = NULL,"
                " run_at = now() + interval '1 hour', polls = 3, submitted_at = now() - interval '2 days'"
            )
        )
    return post


def settles(outcome: str) -> dict[str, Any]:
    return {"outcome": outcome, "event": None, "until": None, "possible_videos": []}


async def rests(world: Any, post: Any) -> bool:
    return (await world.job(post)).lease_owner is None


@pytest.fixture
def world(processes: Any) -> Any:
    return processes


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no busy machine for a TikTok that does not answer."""
    monkeypatch.setattr(api, "LOOK_PATIENCE_SECONDS", 30.0)


async def test_one_that_is_live_is_told_with_the_event_that_says_so(world: Any) -> None:
    post = await unconfirmed(world, live=True)
    answer = await ask(world, post)
    job = await world.job(post)
    assert (answer["outcome"], job.checkpoint.state) == ("live", State.SUCCEEDED)
    told = answer["event"]
    assert (told["key"], told["sequence"]) == ("publisher.publish.succeeded.v1", job.sequence)
    assert (told["data"]["outcome"], told["data"]["attempt"]) == ("published", 1)
    # Asked again it is told again, without another look.
    assert await ask(world, post, attempt=7) == answer


async def test_while_tiktok_works_on_it_nobody_can_know(world: Any) -> None:
    """As long as the looks of the plan go on; should TikTok leave it so for ever, a person's word counts after that."""
    post = await unconfirmed(world, live=False)
    answer = await ask(world, post)
    assert (answer["outcome"], answer["event"]) == ("still_processing", None)
    assert (await world.job(post)).checkpoint.polls == 4
    assert datetime.fromisoformat(answer["until"]) == await ended_at(world) + LOOKED_FOR
    await change(world, f"finished_at = now() - interval '{LOOKED_FOR.total_seconds()} seconds'")
    assert await ask(world, post) == settles("unknown")


async def test_what_tiktok_told_before_counts_only_until_it_tells_something_else(world: Any) -> None:
    post = await unconfirmed(world, live=False)
    assert (await ask(world, post))["outcome"] == "still_processing"
    await world.driver.fault(STATUS, status=500, times=3)
    assert (await ask(world, post))["outcome"] == "unanswered"
    await forget_quotas(world)
    # However often: two seconds later the look is due again by itself, and a replica may begin with it before it is asked.
    await world.driver.fault(STATUS, status=400, code="invalid_publish_id", times=1_000)
    assert await ask(world, post) == settles("unknown")


async def change(world: Any, values: str) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(f"UPDATE publish_jobs SET {values}"))


async def ended_at(world: Any) -> datetime:
    async with world.database.read() as connection:
        moment: datetime = await connection.scalar(text("SELECT finished_at FROM publish_jobs"))
    return moment


async def test_while_tiktok_does_not_answer_it_is_unanswered(world: Any) -> None:
    post = await unconfirmed(world, live=True)
    await world.driver.fault(STATUS, status=500, times=3)
    assert (await ask(world, post))["outcome"] == "unanswered"


async def test_looks_that_tiktok_never_answers_are_unanswered_however_many(world: Any) -> None:
    """More than are made again soon: from then on each one counts for the plan, and still says nothing."""
    post = await unconfirmed(world, live=True)
    await world.driver.fault(STATUS, status=500, times=1_000)
    outcomes = []
    async with asking(world) as ask_again:
        for _ in range(11):
            outcomes.append((await ask_again(post))["outcome"])
            await forget_quotas(world)
    assert outcomes == ["unanswered"] * 11
    assert (await world.job(post)).checkpoint.polls > 3
    await world.driver.admin("DELETE", "faults")
    assert (await ask(world, post))["outcome"] == "live"


@pytest.mark.parametrize("answer", [(409, "account_expired"), (404, "account_not_found")], ids=["expired", "gone"])
async def test_while_the_account_is_away_tiktok_is_not_asked_and_it_is_unanswered(world: Any, answer: tuple[int, str]) -> None:
    post = await unconfirmed(world, live=True)
    world.accounts.problem = Problem(*answer, "Away.")
    assert (await ask(world, post))["outcome"] == "unanswered"
    assert (await world.job(post)).checkpoint.polls == 4
    world.accounts.problem = None
    assert (await ask(world, post))["outcome"] == "live"


async def test_a_fault_that_tiktok_tells_instead_of_the_status_is_no_answer(world: Any) -> None:
    post = await unconfirmed(world, live=True)
    await world.driver.fault(STATUS, status=200, code="unheard_of")
    assert (await ask(world, post))["outcome"] == "unanswered"
    assert (await world.job(post)).checkpoint.polls == 4


async def forget_quotas(world: Any) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("DELETE FROM tiktok_quotas"))


async def test_a_look_that_takes_too_long_is_unanswered_and_goes_on(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LOOK_PATIENCE_SECONDS", 0.3)
    post = await unconfirmed(world, live=True)
    await world.driver.fault(STATUS, delay=30)
    assert (await ask(world, post))["outcome"] == "unanswered"
    await world.driver.admin("DELETE", "faults")


async def test_a_later_proof_is_no_publication(world: Any) -> None:
    post = await unconfirmed(world, live=False)
    publication = world.simulator.state.ledger.get((await world.job(post)).publish_id)
    world.simulator.state.processor.refuse(publication, "internal")
    assert await ask(world, post) == settles("not_published")
    assert (await world.job(post)).checkpoint.state is State.FAILED


async def test_a_failure_that_a_webhook_denied_is_asked_about_too(world: Any) -> None:
    """TikTok's status told its end, and may have changed since: a person's word counts after its answer only."""
    post = await unconfirmed(world, live=False)
    publication = world.simulator.state.ledger.get((await world.job(post)).publish_id)
    world.simulator.state.processor.refuse(publication, "internal")
    await change(world, "state = 'failed', tiktok_status = 'FAILED', run_at = NULL")
    async with asking(world) as ask_again:
        assert await ask_again(post) == settles("not_published"), "nobody denied it"
        await world.webhook(post, "complete")
        await world.driver.fault(STATUS, status=500, times=3)
        assert (await ask_again(post))["outcome"] == "unanswered"
        assert await ask_again(post) == settles("unknown")
        publication.status = "PROCESSING_UPLOAD"
        answer = await ask_again(post)
        assert datetime.fromisoformat(answer.pop("until")) == await ended_at(world) + LOOKED_FOR
        assert answer["outcome"] == "still_processing"
        publication.status = "PUBLISH_COMPLETE"
        assert (await ask_again(post))["outcome"] == "live"


@pytest.mark.parametrize("state", ["queued", "running", "elsewhere"])
async def test_what_still_runs_is_no_proof(world: Any, state: str) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(f"UPDATE publish_jobs SET state = '{state}', run_at = now() + interval '1 hour'"))
    assert await ask(world, post) == settles("unknown")


async def test_an_attempt_that_nobody_has_heard_of_published_nothing(world: Any) -> None:
    assert await ask(world, world.post(uuid7(), None)) == settles("not_published")


async def lost_init(world: Any, *, transfer: str = "pull", publish_id: str | None = None, ended_ago: float = 60.0) -> Any:
    """Return a post whose init was intended and never answered, as another replica left it some seconds ago."""
    post = world.post(await world.account(), None)
    await world.accept(post)
    values = {"transfer": transfer, "publish_id": publish_id, "ago": timedelta(seconds=ended_ago)}
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text(
                "UPDATE publish_jobs SET state = 'unconfirmed', step = 'init_intended', transfer = :transfer,"
                " publish_id = :publish_id, finished_at = now() - CAST(:ago AS interval), irrevocable_since = now(),"
                " run_at = now() + interval '1 hour', lane = 'follow'"
            ),
            values,
        )
    return post


@pytest.mark.parametrize("transfer", ["pull", "photo", "elsewhere"])
async def test_nobody_can_know_what_comes_of_an_init_without_an_answer_for_an_hour(world: Any, transfer: str) -> None:
    post = await lost_init(world, transfer=transfer)
    answer = await ask(world, post)
    assert (answer["outcome"], answer["event"]) == ("too_early", None)
    assert datetime.fromisoformat(answer["until"]) == await ended_at(world) + timedelta(hours=1)


@pytest.mark.parametrize(
    "init", [{"transfer": "file"}, {"ended_ago": 3600.0}, {"publish_id": "p_pull_url~v2-1.7"}], ids=["file", "later", "known"]
)
async def test_it_is_not_too_early_when_nothing_can_stray_any_more_or_tiktok_can_be_asked(
    world: Any, init: dict[str, Any]
) -> None:
    assert (await ask(world, await lost_init(world, **init)))["outcome"] == "unknown"


@pytest.mark.parametrize(("transfer", "kind"), [("file", "video"), ("photo", "photo")])
async def test_what_the_creators_list_shows_that_may_be_it_is_named_with_its_address(
    world: Any, transfer: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every attempt of unknown outcome, each video once, the newest first, and not more than a person can answer about."""
    post = await lost_init(world, transfer=transfer, publish_id="p~1")
    second = post.model_copy(update={"attempt": 2})
    await world.accept(second)
    await change(world, "state = 'unconfirmed', lane = 'follow', run_at = now() + interval '1 hour' WHERE attempt = 2")
    await change(world, "possible_videos = '{99,7302}' WHERE attempt = 1")
    await change(world, "possible_videos = '{7302,7303}', username = NULL WHERE attempt = 2")
    await change(world, f"username = 'Ada L/', transfer = '{transfer}' WHERE attempt = 1")
    answer = await ask(world, post, attempt=2)
    shown = {video["id"]: video["url"] for video in answer["possible_videos"]}
    assert (answer["outcome"], list(shown)) == ("unknown", ["7303", "7302", "99"])
    assert (shown["7303"], shown["99"]) == (None, f"https://www.tiktok.com/@Ada%20L%2F/{kind}/99")
    monkeypatch.setattr(look_again, "MAX_POSSIBLE", 1)
    assert [video["id"] for video in (await ask(world, post, attempt=2))["possible_videos"]] == ["7303"]
