"""No post waits silently: sweeping moving posts, stopping unwanted ones, forgetting old replies."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.publisher import PublishCancelled
from common.contracts.registry import parse
from common.contracts.scheduler import PostDue, PostFailed
from common.ids import uuid7
from common.messaging.inbox import Inbox
from scheduler.clients.publisher import PublisherAway, PublisherUndecided
from scheduler.domain.outcome import GIVEN_UP, Patience
from scheduler.domain.post import Post
from scheduler.domain.retry import RetryPolicy
from scheduler.loops.backlog import Backlog
from scheduler.loops.prune import Prune
from scheduler.loops.sweep import Sweep
from scheduler.settings import Settings
from scheduler.storage.sweep import SweepLimits
from scheduler.storage.tables import inbox
from scheduler.usecases.apply_publish_event import PublishRules, apply_publish_event
from scheduler.usecases.end_unreadable import AT_ONCE, end_unreadable

pytestmark = pytest.mark.integration


class Publisher:
    """Answers cancellations as told."""

    def __init__(self, answer: bool | Exception | None) -> None:
        self.answer = PublisherAway("away") if answer is None else answer
        self.asked: list[tuple[object, int]] = []

    async def cancel(self, post_id: object, attempt: int) -> bool:
        self.asked.append((post_id, attempt))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class NothingWaits:
    """An empty intake queue."""

    async def waiting(self) -> int | None:
        return 0


def sweep(
    world: Any, answer: bool | Exception | None = None, *, intake: Any = None, limit: int = 1_000, **limits: Any
) -> Sweep:
    backlog = Backlog(world.database, intake or NothingWaits(), limit=limit)
    return Sweep(world.database, world.outbox, Publisher(answer), SweepLimits(**limits), backlog)  # type: ignore[arg-type]


async def moving(world: Any, **fields: Any) -> Post:
    values = {"status": "publishing", "attempt": 3, "next_attempt_at": None, "scheduled_time": utc_now(), "due_at": utc_now()}
    post: Post = await world.post(**{**values, **fields})
    return post


@pytest.mark.parametrize("status", ["due", "publishing", "deferred", "processing"])
async def test_a_silent_post_is_asked_about_with_the_same_attempt(world: Any, status: str) -> None:
    post = await moving(world, status=status, sweep_at=utc_now() - timedelta(seconds=1))
    result = await sweep(world).sweep_moving()
    assert result.done == 1
    now = await world.reload(post)
    assert (now.status, now.attempt, now.version) == (status, 3, post.version)
    assert now.sweep_at is not None
    assert now.sweep_at > utc_now()
    (envelope,) = await world.told()
    question = parse(envelope, PostDue)
    assert (question.attempt, question.again, envelope.sequence_number) == (3, True, post.version)


@pytest.mark.parametrize(
    ("waiting", "in_outbox", "asked"),
    [
        (0, 0, 30),
        (50, 0, 30),
        (49, 1, 30),
        (50, 1, 20),
        (51, 0, 20),
        (199, 0, 20),
        (198, 1, 20),
        (199, 1, 0),
        (200, 0, 0),
        (None, 0, 0),
    ],
)
async def test_few_questions_are_asked_while_much_waits(
    world: Any, intake: Any, waiting: int | None, in_outbox: int, asked: int
) -> None:
    """Each is one more in the queue: at 100 posts that may be on their way they never make it longer than 200."""
    for _ in range(in_outbox):
        await world.post()
        await world.claim()
    silent = utc_now() - timedelta(seconds=1)
    for _ in range(30):
        await moving(world, sweep_at=silent)
    intake.length = waiting
    step = await sweep(world, intake=intake, limit=100, batch=40).sweep_moving()
    assert (step.done, step.more) == (asked, False)
    assert len(await world.told()) == asked + in_outbox


async def test_a_post_that_is_stuck_is_asked_about_however_long_the_publisher_is_behind(world: Any, intake: Any) -> None:
    """Under steady load some always wait; the longest silence comes first, and who was asked about waits for the answer."""
    intake.length = 100
    posts = [await moving(world, sweep_at=utc_now() - timedelta(seconds=60 - number)) for number in range(50)]
    loop = sweep(world, intake=intake)
    for done in (20, 20, 10, 0):
        assert (await loop.sweep_moving()).done == done
    asked = [envelope.subject for envelope in await world.told()]
    for start in (0, 20, 40):
        assert set(asked[start : start + 20]) == {str(post.id) for post in posts[start : start + 20]}


@pytest.mark.parametrize(
    ("since_change", "since_forecast", "next_in"),
    [(1, None, 2), (8, None, 8), (200, None, 60), (200, 5, 5), (200, -1, 2)],
)
async def test_each_question_doubles_the_time_to_the_next(
    world: Any, since_change: int, since_forecast: int | None, next_in: int
) -> None:
    """In minutes: as long as it has been silent, at least 2, at most 60; a wait that was told counts from its end."""
    now = utc_now()
    post = await moving(world, sweep_at=now - timedelta(seconds=1), updated_at=now - timedelta(minutes=since_change))
    if since_forecast is not None:
        await world.execute("UPDATE posts SET forecast_at = :at", at=now - timedelta(minutes=since_forecast))
    await sweep(world).sweep_moving()
    swept = (await world.reload(post)).sweep_at
    assert timedelta(0) <= swept - now - timedelta(minutes=next_in) < timedelta(seconds=20)


async def test_a_day_of_silence_is_asked_about_thirty_times_at_most(world: Any) -> None:
    await moving(world, sweep_at=utc_now(), status="processing")
    asked = passed = 0
    while passed < 24 * 60:
        asked += (await sweep(world).sweep_moving()).done
        async with world.database.read() as connection:
            minutes = await connection.scalar(text("SELECT ceil(extract(epoch FROM sweep_at - now()) / 60) FROM posts"))
        passed += int(minutes)
        await world.execute("DELETE FROM outbox_messages")
        back = (
            "UPDATE posts SET sweep_at = sweep_at - CAST(:back AS interval), updated_at = updated_at - CAST(:back AS interval)"
        )
        await world.execute(back, back=timedelta(minutes=int(minutes)))
    assert 10 < asked <= 30


async def test_a_row_that_makes_no_event_stops_no_other(world: Any) -> None:
    """What the publisher has in hand may be out already: it is not failed, and asked about again later."""
    overdue = utc_now() - timedelta(seconds=1)
    bad, good = await moving(world, sweep_at=overdue, privacy_level="NOBODY"), await moving(world, sweep_at=overdue)
    assert (await sweep(world).sweep_moving()).done == 2
    assert [envelope.subject for envelope in await world.told()] == [str(good.id)]
    now = await world.reload(bad)
    assert (now.status, now.sweep_at > utc_now()) == ("publishing", True)


async def unreadable(world: Any, hours: float, **fields: Any) -> Post:
    """Return a moving post that makes no question, since when its deadline has passed and nothing was heard of it."""
    since = utc_now() - timedelta(hours=hours)
    overdue = utc_now() - timedelta(seconds=1)
    values = {"sweep_at": overdue, "privacy_level": "NOBODY", "publish_before": since, "updated_at": since}
    return await moving(world, **{**values, **fields})


@pytest.mark.parametrize("status", ["due", "publishing", "deferred", "processing"])
@pytest.mark.parametrize(
    ("answer", "hours", "ends", "event"),
    [
        (True, 1.1, "failed", "failed"),
        (True, 0.9, None, None),
        (False, 47, None, None),
        (False, 49, "unconfirmed", "unconfirmed"),
        (PublisherUndecided(), 47, None, None),
        (PublisherUndecided(), 49, "unconfirmed", "unconfirmed"),
        (None, 1_000, None, None),
    ],
)
async def test_a_row_that_makes_no_event_ends_explained(
    world: Any, status: str, answer: bool | Exception | None, hours: float, ends: str | None, event: str | None
) -> None:
    """By the publisher's word that nothing was published, or when nothing more is to come; never while something may."""
    post = await unreadable(world, hours, status=status)
    assert (await sweep(world, answer).sweep_moving()).done == 1
    now = await world.reload(post)
    told = await world.told()
    assert now.status == ends or (ends is None and now.status == status)
    assert [envelope.key for envelope in told] == ([] if event is None else [f"scheduler.post.{event}.v1"])
    if ends is not None:
        assert (told[0].data["code"], told[0].data["message"], told[0].data["hint"]) == (
            now.error_code, now.error_message, now.error_hint,
        )  # fmt: skip
        assert (now.error_code, now.sweep_at, now.version) == ("internal_error", None, post.version + 1)
        assert ("nothing was published" in (now.error_message or "")) is (ends == "failed")
        assert now.ended_at is not None


@pytest.mark.parametrize("moment", ["publish_before", "updated_at", "forecast_at"])
async def test_it_is_left_alone_while_something_may_still_be_on_its_way(world: Any, moment: str) -> None:
    post = await unreadable(world, 100, **({} if moment == "forecast_at" else {moment: utc_now()}))
    if moment == "forecast_at":
        await world.execute("UPDATE posts SET forecast_at = now()")
    loop = sweep(world, True)
    assert (await loop.sweep_moving()).done == 1
    assert (await world.reload(post)).status == "publishing"
    assert not loop._publisher.asked  # type: ignore[attr-defined]


async def test_one_that_has_ended_since_it_was_swept_is_not_asked_about(world: Any) -> None:
    post = await unreadable(world, 100, status="published")
    publisher = Publisher(True)
    for post_id in (post.id, uuid7()):
        await end_unreadable(world.database, world.outbox, publisher, post_id, hopeless_after=timedelta(hours=48))  # type: ignore[arg-type]
    assert not publisher.asked
    assert (await world.reload(post)).status == "published"


async def test_what_is_heard_while_the_publisher_is_asked_counts(world: Any) -> None:
    post = await unreadable(world, 100)

    class Slow(Publisher):
        async def cancel(self, post_id: object, attempt: int) -> bool:
            await world.execute("UPDATE posts SET status = 'published', version = version + 1")
            return True

    loop = Sweep(world.database, world.outbox, Slow(True), SweepLimits(), Backlog(world.database, NothingWaits(), limit=1_000))  # type: ignore[arg-type]
    await loop.sweep_moving()
    assert (await world.reload(post)).status == "published"
    assert not await world.told()


async def test_the_event_of_the_stop_may_come_before_its_answer(world: Any) -> None:
    """Nobody cancelled the post, so it fails with its reason, whichever of the two is first; also once it is unconfirmed."""

    class EventFirst(Publisher):
        async def cancel(self, post_id: object, attempt: int) -> bool:
            await stopped(world, await world.reload(post))
            return True

    post = await unreadable(world, 2)
    loop = Sweep(
        world.database, world.outbox, EventFirst(True), SweepLimits(), Backlog(world.database, NothingWaits(), limit=1_000)
    )  # type: ignore[arg-type]
    await loop.sweep_moving()
    now = await world.reload(post)
    assert (now.status, now.error_code, now.error_message) == ("failed", "internal_error", GIVEN_UP.message)
    (envelope,) = await world.told()
    assert parse(envelope, PostFailed).code == "internal_error"
    late = await unreadable(world, 49, transfer="pull")
    await sweep(world, PublisherUndecided()).sweep_moving()
    assert (await world.reload(late)).status == "unconfirmed"
    await stopped(world, late)
    assert (await world.reload(late)).status == "failed"


async def test_a_stop_of_another_attempt_or_of_an_ended_account_is_told_as_such(world: Any) -> None:
    earlier = await unreadable(world, 2, given_up_attempt=2)
    gone = await unreadable(world, 2, given_up_attempt=3, cancel_at=utc_now())
    for post, code in ((earlier, None), (gone, "account_disconnected")):
        await stopped(world, post)
        now = await world.reload(post)
        assert (now.status, now.error_code) == ("cancelled", code)


async def stopped(world: Any, post: Post) -> None:
    """Let the publisher's event arrive that the post's attempt was stopped."""
    event = PublishCancelled(
        post_id=post.id, attempt=post.attempt, job_id=uuid7(), account_id=post.account_id, replica="publisher-1"
    )
    context = Context(user_id=post.user_id, actor="service:publisher")
    envelope = wrap(event, service="publisher", subject=str(post.id), context=context, sequence=9)
    rules = PublishRules(RetryPolicy(), Patience())
    async with world.database.transaction() as tx:
        await apply_publish_event(tx, world.outbox, world.waker, rules, event, envelope)


@pytest.mark.parametrize("fields", [{"transfer": "pull"}, {"photo_urls": ["https://photos.example.com/1.jpg"]}])
async def test_what_tiktok_fetches_is_not_broken_off_while_it_may_be_published(world: Any, fields: dict[str, Any]) -> None:
    post = await unreadable(world, 47, **fields)
    loop = sweep(world, True)
    await loop.sweep_moving()
    assert not loop._publisher.asked  # type: ignore[attr-defined]
    assert (await world.reload(post)).status == "publishing"
    two_hours = "publish_before = publish_before - interval '2 h', updated_at = updated_at - interval '2 h'"
    await world.execute(f"UPDATE posts SET sweep_at = now(), {two_hours}")
    await sweep(world, True).sweep_moving()
    assert (await world.reload(post)).status == "failed"


def test_how_long_there_is_hope_follows_the_publishers_patience() -> None:
    for seconds, hours in ((86_400.0, 48), (90.0, 1)):
        settings = Settings.model_construct(sweep_due_seconds=1.0, unconfirmed_after_seconds=seconds)
        assert settings.sweep_limits.hopeless_after == timedelta(hours=hours)


@pytest.mark.parametrize(("is_away", "asked"), [(False, 25), (True, AT_ONCE)])
async def test_many_are_asked_about_a_few_at_a_time(world: Any, is_away: bool, asked: int) -> None:
    """All of a batch at once in turns of ten; the rest of it waits for the next sweep when the publisher is away."""
    for _ in range(25):
        await unreadable(world, 2)

    class Together(Publisher):
        now, most = 0, 0
        full = asyncio.Event()

        async def cancel(self, post_id: object, attempt: int) -> bool:
            self.asked.append((post_id, attempt))
            self.now += 1
            self.most = max(self.most, self.now)
            if self.most == AT_ONCE:
                self.full.set()
            await asyncio.wait_for(self.full.wait(), 60)
            self.now -= 1
            if is_away:
                raise PublisherAway
            return True

    publisher = Together(True)
    loop = Sweep(world.database, world.outbox, publisher, SweepLimits(), Backlog(world.database, NothingWaits(), limit=1_000))  # type: ignore[arg-type]
    await loop.sweep_moving()
    assert (len(publisher.asked), publisher.most) == (asked, AT_ONCE)
    assert (await world.counts()) == ({"publishing": 25} if is_away else {"failed": 25})


async def test_others_are_left_alone(world: Any) -> None:
    await moving(world, sweep_at=utc_now() + timedelta(seconds=20))
    await moving(world, status="published", sweep_at=utc_now() - timedelta(seconds=1))
    result = await sweep(world).sweep_moving()
    assert (result.done, result.more) == (0, False)
    assert result.next_in is not None
    assert 15 < result.next_in <= 20


async def test_a_full_batch_tells_that_there_may_be_more(world: Any) -> None:
    for _ in range(2):
        await moving(world, sweep_at=utc_now() - timedelta(seconds=1))
    assert (await sweep(world, batch=2).sweep_moving()).more
    assert (await sweep(world).sweep_deadlines()).done == 0


@pytest.mark.parametrize(
    ("answer", "status", "wanted"), [(True, "cancelled", False), (False, "publishing", False), (None, "publishing", True)]
)
async def test_unwanted_posts_are_stopped_by_the_publishers_word(
    world: Any, answer: bool | None, status: str, wanted: bool
) -> None:
    post = await moving(world, cancel_at=utc_now() - timedelta(seconds=1))
    assert (await sweep(world, answer).stop_unwanted()).done == 1
    now = await world.reload(post)
    assert now.status == status
    assert (now.cancel_at is not None) is wanted
    assert now.error_code == ("account_disconnected" if answer else None)
    assert [envelope.key for envelope in await world.told()] == (["scheduler.post.cancelled.v1"] if answer else [])
    assert (await sweep(world, answer).stop_unwanted()).done == 0


async def test_what_tiktok_is_asked_to_give_up_is_asked_about_again(world: Any) -> None:
    post = await moving(world, transfer="pull", cancel_at=utc_now() - timedelta(seconds=1))
    assert (await sweep(world, PublisherUndecided()).stop_unwanted()).done == 1
    now = await world.reload(post)
    assert (now.status, now.cancel_at is not None) == ("publishing", True)


async def test_a_post_that_went_on_meanwhile_is_left_alone(world: Any) -> None:
    """The publisher's word is about one attempt; by the time it comes, the post may be at another or gone."""
    post = await moving(world, cancel_at=utc_now() - timedelta(seconds=1))

    class Slow(Publisher):
        async def cancel(self, post_id: object, attempt: int) -> bool:
            await world.execute("UPDATE posts SET attempt = attempt + 1")
            return True

    loop = Sweep(world.database, world.outbox, Slow(True), SweepLimits(), Backlog(world.database, NothingWaits(), limit=1_000))  # type: ignore[arg-type]
    assert (await loop.stop_unwanted()).done == 1
    now = await world.reload(post)
    assert (now.status, now.attempt) == ("publishing", 4)


async def test_old_replies_are_forgotten(world: Any) -> None:
    rows = [{"consumer": "c", "message_id": uuid7(), "received_at": utc_now() - timedelta(days=days)} for days in (1, 8)]
    async with world.database.transaction() as tx:
        await tx.connection.execute(insert(inbox), rows)
    assert (await Prune(world.database, Inbox(inbox), timedelta(days=7)).step()).done == 1
    async with world.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(inbox)) == 1
