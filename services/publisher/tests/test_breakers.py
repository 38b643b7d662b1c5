"""Circuit breakers: after failures in a row nothing is sent, one call tries, and waiting costs no attempt."""

import asyncio
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import urlsplit

import purgatory.domain.model
import pytest

from common.testing.eventually import eventually
from publisher.clients import breakers as module
from publisher.clients.breakers import PROBE_WAIT_SECONDS, BreakerOpen, Breakers, Endpoint
from publisher.domain.job import State, Step
from publisher.metrics import BREAKER_OPEN
from publisher.runner.steps.upload import _unavailable
from tiktok.errors import TikTokRefused, TikTokUnavailable
from tiktok.upload import ChunkOutcome, ChunkResult

INIT = "/v2/post/publish/video/init/"


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._time = purgatory.domain.model.time.time

    def time(self) -> float:
        return self._time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(purgatory.domain.model, "time", clock)
    monkeypatch.setattr(module, "time", clock)
    return clock


async def down() -> Any:
    raise TikTokUnavailable("internal_error", sent=True)


async def refuse() -> Any:
    raise TikTokRefused("spam_risk", http_status=403)


async def fault_told_as_success() -> Any:
    raise TikTokRefused("internal", http_status=200)


async def up() -> str:
    return "up"


async def fail(breakers: Breakers, times: int) -> None:
    for _ in range(times):
        with pytest.raises(TikTokUnavailable):
            await breakers.call(Endpoint.VIDEO_INIT, down)


def state(endpoint: Endpoint = Endpoint.VIDEO_INIT) -> float:
    return float(BREAKER_OPEN.labels(endpoint.value)._value.get())


async def test_failures_in_a_row_open_it_for_that_endpoint_alone(clock: Clock) -> None:
    breakers = Breakers(failures=3, open_seconds=30)
    await fail(breakers, 2)
    assert not await breakers.is_well(Endpoint.VIDEO_INIT)
    assert await breakers.call(Endpoint.VIDEO_INIT, up) == "up"
    assert await breakers.is_well(Endpoint.VIDEO_INIT)
    await fail(breakers, 3)
    assert not await breakers.is_well(Endpoint.VIDEO_INIT)
    assert await breakers.call(Endpoint.CONTENT_INIT, up) == "up"
    with pytest.raises(BreakerOpen) as caught:
        await breakers.call(Endpoint.VIDEO_INIT, up)
    assert caught.value.wait == pytest.approx(30, abs=2)
    assert state() == 1
    assert await breakers.call(Endpoint.STATUS, up) == "up"


async def test_a_refusal_is_an_answer(clock: Clock) -> None:
    breakers = Breakers(failures=2, open_seconds=30)
    await fail(breakers, 1)
    for _ in range(5):
        with pytest.raises(TikTokRefused):
            await breakers.call(Endpoint.VIDEO_INIT, refuse)
    await fail(breakers, 1)
    assert await breakers.call(Endpoint.VIDEO_INIT, up) == "up"


async def test_a_fault_of_its_own_is_no_answer_whatever_the_status(clock: Clock) -> None:
    breakers = Breakers(failures=2, open_seconds=30)
    await fail(breakers, 1)
    with pytest.raises(TikTokRefused):
        await breakers.call(Endpoint.VIDEO_INIT, fault_told_as_success)
    with pytest.raises(BreakerOpen):
        await breakers.call(Endpoint.VIDEO_INIT, up)


async def test_all_keep_away_for_as_long_as_a_fault_names(clock: Clock) -> None:
    breakers = Breakers(failures=10, open_seconds=30)
    under_way: list[asyncio.Future[str]] = []

    async def slow() -> str:
        under_way.append(asyncio.get_running_loop().create_future())
        return await under_way[-1]

    async def fail_with(retry_after: float | None, call: asyncio.Task[str], answer: asyncio.Future[str]) -> None:
        answer.set_exception(TikTokUnavailable("internal_error", sent=True, retry_after=retry_after))
        with pytest.raises(TikTokUnavailable):
            await call

    async def wait() -> float:
        with pytest.raises(BreakerOpen) as caught:
            await breakers.call(Endpoint.VIDEO_INIT, up)
        return caught.value.wait

    calls = [asyncio.create_task(breakers.call(Endpoint.VIDEO_INIT, slow)) for _ in range(4)]
    await eventually(lambda: len(under_way) == 4, 60)
    for named, forecast in ((120, 120), (None, 120), (200, 200), (86_400, module.LONGEST_PAUSE_SECONDS)):
        await fail_with(named, calls.pop(), under_way.pop())
        assert await wait() == pytest.approx(forecast, abs=10)
    assert await breakers.call(Endpoint.STATUS, up) == "up"
    clock.ahead += module.LONGEST_PAUSE_SECONDS + 1
    await fail(breakers, 1)
    assert await wait() == pytest.approx(30, abs=10), "it named none this time"


async def test_results_can_be_failures_and_are_returned_all_the_same(clock: Clock) -> None:
    breakers = Breakers(failures=2, open_seconds=30)
    away = ChunkResult(ChunkOutcome.UNAVAILABLE, 503, retry_after=120)

    async def send() -> ChunkResult:
        return away

    for _ in range(2):
        assert await breakers.call(Endpoint.UPLOAD, send, is_failure=lambda result: result.http_status == 503) is away
    with pytest.raises(BreakerOpen):
        await breakers.call(Endpoint.UPLOAD, send)
    on_host = partial(breakers.call, Endpoint.UPLOAD, send, host="named", is_failure=lambda _: True)
    assert await on_host(named_wait=lambda result: result.retry_after) is away
    with pytest.raises(BreakerOpen) as caught:
        await on_host()
    assert caught.value.wait > 100


async def test_one_call_tries_and_the_others_wait_for_it(clock: Clock) -> None:
    breakers = Breakers(failures=1, open_seconds=30)
    await fail(breakers, 1)
    clock.ahead += 31
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def slow() -> str:
        return await answer

    trying = asyncio.create_task(breakers.call(Endpoint.VIDEO_INIT, slow))
    await eventually(lambda: (Endpoint.VIDEO_INIT, "") in breakers._trying, 60)
    with pytest.raises(BreakerOpen) as caught:
        await breakers.call(Endpoint.VIDEO_INIT, up)
    assert caught.value.wait == PROBE_WAIT_SECONDS
    answer.set_result("back")
    assert await trying == "back"
    assert state() == 0
    assert await breakers.call(Endpoint.VIDEO_INIT, up) == "up"


async def test_a_try_that_fails_or_ends_without_an_answer_opens_it_again(clock: Clock) -> None:
    breakers = Breakers(failures=3, open_seconds=30)
    await fail(breakers, 3)
    clock.ahead += 31
    await fail(breakers, 1)
    with pytest.raises(BreakerOpen):
        await breakers.call(Endpoint.VIDEO_INIT, up)
    clock.ahead += 31
    with pytest.raises(RuntimeError):
        await breakers.call(Endpoint.VIDEO_INIT, _broken)
    with pytest.raises(BreakerOpen):
        await breakers.call(Endpoint.VIDEO_INIT, up)
    clock.ahead += 31
    with pytest.raises(TikTokRefused):
        await breakers.call(Endpoint.VIDEO_INIT, refuse)
    assert state() == 0


async def test_our_own_faults_do_not_open_it(clock: Clock) -> None:
    breakers = Breakers(failures=1, open_seconds=30)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await breakers.call(Endpoint.VIDEO_INIT, _broken)
    assert await breakers.call(Endpoint.VIDEO_INIT, up) == "up"


async def _broken() -> Any:
    raise RuntimeError("not TikTok's")


async def test_while_it_is_open_posts_wait_with_a_forecast_and_no_attempt_is_spent(world: Any, clock: Clock) -> None:
    first = world.post(await world.account("demo_public"), world.media())
    second = world.post(await world.account("demo_private"), world.media(), content={"privacy_level": "SELF_ONLY"})
    await world.driver.fault(INIT, status=503, times=1_000)
    async with world.replica(breaker_failures=1):
        await world.accept(first)
        await eventually(lambda: world.waits(first, "tiktok_internal_error"), 60)
        await world.accept(second)
        deferred = await world.told_of(second, "deferred")
        assert deferred["code"] == "tiktok_away"
        job = await world.job(second)
        assert timedelta(seconds=5) < job.run_at - await world.database_now() < timedelta(seconds=40)
        assert (job.checkpoint.step, job.checkpoint.irrevocable_since) == (Step.CREATOR_INFO, None)
        assert (await world.driver.stats())["requests"][INIT] == {"503": 1}
        await world.driver.admin("DELETE", "faults")
        clock.ahead += 40
        await world.due_now(second)
        await world.state(second, State.SUCCEEDED)
        await world.due_now(first)
        await world.state(first, State.SUCCEEDED)
    assert {event.data["attempt"] for post in (first, second) for event in await world.events(post)} == {1}


@pytest.mark.parametrize("simulator_changes", [{"pull_loopback": True}])
async def test_a_pull_that_meets_an_open_breaker_was_not_sent_and_tries_nothing_itself(world: Any, clock: Clock) -> None:
    """An init that publishes by itself is not what tries whether TikTok is back: a harmless call is, with and without success."""
    account = await world.account()
    pull = world.post(account, None, transfer="pull", source_url="http://127.0.0.1:9/a.mp4")
    async with world.replica(breaker_failures=1) as replica:
        with pytest.raises(TikTokUnavailable):
            await replica.tools.tiktok.breakers.call(Endpoint.VIDEO_INIT, down)
        await world.accept(pull)
        assert (await world.told_of(pull, "deferred"))["code"] == "tiktok_away"
        job = await world.job(pull)
        assert (job.checkpoint.step, job.checkpoint.irrevocable_since) == (Step.CREATOR_INFO, None)
        await world.driver.fault(INIT, status=503)
        await world.driver.fault(INIT, status=200, code="internal")
        for answers in ({"503": 1}, {"503": 1, "200": 1}, {"503": 1, "200": 2, "400": 1}):
            assert not await world.driver.ledger()
            clock.ahead += 40
            await eventually(lambda: _rests(world, pull))
            await world.due_now(pull)
            await eventually(lambda answers=answers: _answered(world, answers), 60)
        await world.state(pull, State.FAILED)
    assert len(await world.driver.ledger()) == 1


@pytest.mark.parametrize("simulator_changes", [{"pull_loopback": True}])
async def test_a_harmless_try_that_was_one_too_many_is_followed_by_nothing(world: Any, clock: Clock) -> None:
    pull = world.post(await world.account(), None, transfer="pull", source_url="http://127.0.0.1:9/a.mp4")
    async with world.replica() as replica:
        with pytest.raises(TikTokUnavailable):
            await replica.tools.tiktok.breakers.call(Endpoint.VIDEO_INIT, down)
        await world.driver.fault(INIT, status=429)
        await world.accept(pull)
        assert (await world.told_of(pull, "deferred"))["code"] == "tiktok_rate_limit_exceeded"
    assert (await world.job(pull)).checkpoint.irrevocable_since is None
    assert await _answered(world, {"429": 1})


async def test_a_code_that_is_new_is_an_answer_to_a_harmless_try(world: Any, clock: Clock) -> None:
    async def refused() -> None:
        raise TikTokRefused("brand_new_code", http_status=200)

    async with world.replica() as replica:
        tiktok = replica.tools.tiktok
        with pytest.raises(TikTokUnavailable):
            await tiktok.breakers.call(Endpoint.VIDEO_INIT, down)
        await tiktok._make_sure(Endpoint.VIDEO_INIT, refused, AsyncMock())
        assert await tiktok.breakers.is_well(Endpoint.VIDEO_INIT)


async def test_an_upload_waits_for_as_long_as_an_address_lives_for_sure() -> None:
    run: Any = SimpleNamespace(job=SimpleNamespace(checkpoint=SimpleNamespace(deferrals=0)))
    assert [_unavailable(run, named).seconds for named in (7_200.0, 30.0)] == [module.LONGEST_PAUSE_SECONDS, 30.0]


async def _rests(world: Any, post: Any) -> bool:
    return (await world.job(post)).lease_owner is None


async def _answered(world: Any, answers: dict[str, int]) -> bool:
    return (await world.driver.stats())["requests"].get(INIT) == answers


async def test_uploads_that_meet_an_open_breaker_have_sent_nothing(world: Any, clock: Clock) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica(breaker_failures=1) as replica:
        with pytest.raises(TikTokUnavailable):
            await replica.tools.tiktok.breakers.call(Endpoint.UPLOAD, down, host=urlsplit(world.driver.base_url).netloc)
        await world.accept(post)
        assert (await world.told_of(post, "deferred"))["code"] == "tiktok_away"
        assert (await world.job(post)).checkpoint.irrevocable_since is None
        clock.ahead += 40
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    assert len(await world.publications(post)) == 1


async def test_one_bad_upload_host_stops_no_other(world: Any, clock: Clock) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica(breaker_failures=1) as replica:
        with pytest.raises(TikTokUnavailable):
            await replica.tools.tiktok.breakers.call(Endpoint.UPLOAD, down, host="bad.example")
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        assert state(Endpoint.UPLOAD) == 1
        with pytest.raises(BreakerOpen):
            await replica.tools.tiktok.breakers.call(Endpoint.UPLOAD, up, host="bad.example")
    assert await world.told(post) == ["started", "submitted", "succeeded"]


async def test_hosts_have_a_bounded_number_of_breakers_and_those_that_are_open_stay(clock: Clock) -> None:
    breakers = Breakers(failures=1, open_seconds=30)
    with pytest.raises(TikTokUnavailable):
        await breakers.call(Endpoint.UPLOAD, down, host="bad")
    for number in range(3 * module.MAX_HOSTS):
        assert await breakers.call(Endpoint.UPLOAD, up, host=f"good-{number}") == "up"
    assert len(breakers._known) == module.MAX_HOSTS
    with pytest.raises(BreakerOpen):
        await breakers.call(Endpoint.UPLOAD, up, host="bad")
    for number in range(module.MAX_HOSTS):
        with pytest.raises(TikTokUnavailable):
            await breakers.call(Endpoint.UPLOAD, down, host=f"bad-{number}")
    assert len(breakers._known) == module.MAX_HOSTS
    assert await breakers.call(Endpoint.UPLOAD, up, host="bad") == "up", "the oldest of the open ones is forgotten in the end"


async def test_one_that_is_forgotten_while_a_call_is_under_way_tells_no_more(clock: Clock) -> None:
    breakers = Breakers(failures=1, open_seconds=30)
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def slow() -> str:
        return await answer

    call = asyncio.create_task(breakers.call(Endpoint.UPLOAD, slow, host="slow"))
    await eventually(lambda: (Endpoint.UPLOAD, "slow") in breakers._known, 5)
    for number in range(module.MAX_HOSTS):
        await breakers.call(Endpoint.UPLOAD, up, host=f"good-{number}")
    answer.set_exception(TikTokUnavailable("internal_error", sent=True))
    with pytest.raises(TikTokUnavailable):
        await call
    assert state(Endpoint.UPLOAD) == 0
    assert await breakers.call(Endpoint.UPLOAD, up, host="slow") == "up"


async def test_a_wait_that_tiktok_names_is_kept_by_all(world: Any, clock: Clock) -> None:
    """`Retry-After` of a 503: not repeated at once, and not earlier, by this post or another."""
    post, other = [world.post(await world.account(name), world.media()) for name in ("demo_public", "demo_private")]
    async with world.replica() as replica:
        posting = replica.tools.tiktok._posting
        creator_info, asked = posting.creator_info, []

        async def busy(*arguments: Any) -> Any:
            asked.append(1)
            if len(asked) == 1:
                raise TikTokUnavailable("internal_error", sent=True, retry_after=120, http_status=503)
            return await creator_info(*arguments)

        posting.creator_info = busy
        await world.accept(post)
        await world.told_of(post, "deferred")
        await world.accept(other)
        assert (await world.told_of(other, "deferred"))["code"] == "tiktok_away"
        for waiting in (post, other):
            assert (await world.job(waiting)).run_at - await world.database_now() > timedelta(seconds=60)
        assert len(asked) == 1
        clock.ahead += 130
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
