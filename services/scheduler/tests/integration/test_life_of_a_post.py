"""A post's whole life under chance: the real use cases on real PostgreSQL, with duplicates, reorderings and late truth.

The model plays the publisher: it knows what really became of each attempt, obeys its own rule when one may start, and everything it
ever told may be delivered at any time, in any order, any number of times.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from common.clock import utc_now
from common.contracts import publisher as contract
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.scheduler import CancelPost
from common.errors import Problem
from common.ids import uuid7
from scheduler.domain.outcome import Patience
from scheduler.domain.post import Post
from scheduler.domain.post_states import MOVING, WAITING, PostState
from scheduler.domain.retry import RetryPolicy
from scheduler.storage.claim import ClaimLimits
from scheduler.usecases.apply_publish_event import PublishRules, apply_publish_event
from scheduler.usecases.cancel_post import Word, cancel_post
from scheduler.usecases.claim_due_posts import claim_due_posts
from scheduler.usecases.confirm_post import confirm_post
from scheduler.usecases.publish_post_now import publish_post_now
from scheduler.usecases.retry_post import retry_post
from scheduler.usecases.surroundings import Surroundings
from scheduler.usecases.update_post import EditPlan, update_post
from scheduler.usecases.wanted_post import want_change

pytestmark = pytest.mark.integration

T = TypeVar("T")
RULES = PublishRules(RetryPolicy(delays=(timedelta(0),), max_attempts=3, jitter=0), Patience())
LIVE = {"published", "sent_to_inbox"}
PROVEN = {"failed", "cancelled"}
STATES_TOLD_BY_THE_PUBLISHER = {PostState.PUBLISHING, PostState.DEFERRED, PostState.PROCESSING}


class Loop:
    """An event loop of its own, for a machine that is not async."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Attempt:
    """What really became of an attempt, and whether anything of it may be out already."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.truth = "queued"
        self.is_irrevocable = False
        self.steps = 0


class LifeOfAPost(RuleBasedStateMachine):
    """One post, its owner, the clock, the due loop and the publisher."""

    world: Any
    loop: Loop

    @initialize(is_draft=st.sampled_from([False, False, False, True]))
    def begin(self, is_draft: bool) -> None:
        self.attempts: dict[int, Attempt] = {}
        self.told: list[Envelope] = []
        self.seen_live = False
        self.told_due = 0
        self.post: Post = self.loop.run(self._begin(is_draft))
        self.before = self.post

    async def _begin(self, is_draft: bool) -> Post:
        await self.world.execute("TRUNCATE posts, outbox_messages")
        account = await self.world.account()
        media_id = await self.world.media(account.user_id)
        at = utc_now() + timedelta(hours=1)
        fields = {"user_id": account.user_id, "account_id": account.id, "media_id": media_id, "next_attempt_at": at}
        waiting = {"publish_before": at + timedelta(hours=24)}
        if is_draft:
            waiting = {"status": "draft", "next_attempt_at": None, "scheduled_time": None, "publish_before": None}
        post: Post = await self.world.post(**(fields | waiting))
        return post

    # What the owner does; each may be refused, and then changes nothing.

    @rule(caption=st.sampled_from(["a", "b"]), completes=st.sampled_from([True, True, False]))
    def edit(self, caption: str, completes: bool) -> None:
        given: dict[str, Any] = {"caption": caption}
        if completes:
            given |= {"draft": False, "scheduled_time": utc_now() + timedelta(hours=1)}
        wanted = want_change(self.post, given, now=utc_now(), allowed_hosts=frozenset())
        plan = EditPlan.of(wanted, Surroundings(self.post.account_id))
        arguments = {"user_id": self.post.user_id, "allowed_hosts": frozenset()}
        is_done = self._try(
            lambda tx: update_post(
                tx, self.world.outbox, self.world.waker, self.post.id, given, plan, self._envelope(), **arguments
            )
        )
        assert is_done is (self.before.state in {PostState.DRAFT, PostState.SCHEDULED})

    @rule()
    def publish_now(self) -> None:
        context = self._context()
        is_done = self._try(
            lambda tx: publish_post_now(
                tx, self.world.outbox, self.world.waker, self.post.id, self.post.user_id, context=context
            )
        )
        assert is_done is (self.before.state in WAITING)

    @rule(confirmed=st.booleans())
    def retry(self, confirmed: bool) -> None:
        context = self._context()
        is_done = self._try(
            lambda tx: retry_post(
                tx,
                self.world.outbox,
                self.world.waker,
                self.post.id,
                self.post.user_id,
                confirm_not_published=confirmed,
                looked_until=self.before.attempt,
                context=context,
            )
        )
        may = self.before.state is PostState.FAILED or (self.before.state is PostState.UNCONFIRMED and confirmed)
        assert is_done is may

    @precondition(lambda self: self.post.state is PostState.UNCONFIRMED)
    @rule()
    def confirm(self) -> None:
        context = self._context()
        assert self._try(
            lambda tx: confirm_post(tx, self.world.outbox, self.post.id, self.post.user_id, "73", context=context)
        )

    @precondition(lambda self: self.post.state in MOVING | WAITING)
    @rule(asks_first=st.booleans(), seldom=st.integers(0, 9))
    def cancel(self, asks_first: bool, seldom: int) -> None:
        if seldom:
            # Most lives are to go on.
            return
        word = None
        if asks_first and self.post.state in MOVING - {PostState.PROCESSING}:
            word = Word(self.post.attempt, self._cancel_attempt(self.post.attempt))
        context = self._context()
        self._try(lambda tx: cancel_post(tx, self.world.outbox, self.post.id, self.post.user_id, word, context=context))
        if self.before.state in WAITING or (word is not None and word.cancelled):
            assert self.post.state is PostState.CANCELLED

    # What time and the due loop do.

    @precondition(lambda self: self.post.state in WAITING)
    @rule(too_late=st.sampled_from([False, False, False, True]))
    def its_time_comes(self, too_late: bool) -> None:
        also = ", publish_before = now() - interval '1 s'" if too_late else ""
        self.loop.run(self.world.execute(f"UPDATE posts SET next_attempt_at = now() - interval '1 s'{also}"))
        self._reload()
        self.claim()
        assert self.post.state is (PostState.FAILED if too_late else PostState.DUE)

    @rule()
    def claim(self) -> None:
        async def run() -> None:
            async with self.world.database.transaction() as tx:
                await claim_due_posts(tx, self.world.outbox, ClaimLimits())

        self.loop.run(run())
        self._reload()
        self._hear()

    # What the publisher does.

    @precondition(lambda self: any(self._may_work(attempt) for attempt in self.attempts.values()))
    @rule(
        data=st.data(),
        what=st.sampled_from(
            ["started", "deferred", "submitted", "published", "inbox", "failed", "failed", "final", "lost", "lost"]
        ),
    )
    def publisher_works(self, data: st.DataObject, what: str) -> None:
        attempt = next(one for one in reversed(self.attempts.values()) if self._may_work(one))
        if attempt.truth == "unconfirmed" and what not in {"published", "inbox", "final"}:
            return
        self._tell(attempt, what)
        if data.draw(st.sampled_from([True, True, False])):
            self._deliver(self.told[-1])

    @precondition(lambda self: bool(self.told))
    @rule(data=st.data())
    def something_told_arrives(self, data: st.DataObject) -> None:
        self._deliver(data.draw(st.sampled_from(self.told)))

    def _deliver(self, envelope: Envelope) -> None:
        kinds = {kind.KEY: kind for kind in vars(contract).values() if isinstance(kind, type) and getattr(kind, "KEY", "")}
        event = kinds[envelope.key].model_validate(envelope.data)

        async def run() -> None:
            async with self.world.database.transaction() as tx:
                await apply_publish_event(tx, self.world.outbox, self.world.waker, RULES, event, envelope)

        self.loop.run(run())
        self.seen_live |= envelope.key == "publisher.publish.succeeded.v1"
        self._reload()

    # What always holds.

    @invariant()
    def the_machine_never_tries_again_unproven(self) -> None:
        for attempt in self.attempts.values():
            for earlier in self.attempts.values():
                if earlier.number < attempt.number:
                    assert earlier.truth in PROVEN or earlier.number <= self.post.dismissed_attempts
        undismissed = [one for one in self.attempts.values() if one.number > self.post.dismissed_attempts]
        assert sum(one.truth in LIVE for one in undismissed) <= 1

    @invariant()
    def evidence_is_never_lost(self) -> None:
        if self.seen_live:
            assert self.post.state in {PostState.PUBLISHED, PostState.SENT_TO_INBOX}

    @invariant()
    def every_change_of_state_is_an_event_and_a_version(self) -> None:
        states = self.loop.run(self._states_told())
        if self.post.version == 1:
            return
        if self.post.state in STATES_TOLD_BY_THE_PUBLISHER:
            assert self.post.version > max(states, default=0)
        else:
            newest = max(states)
            assert (newest, states[newest]) == (self.post.version, self.post.status)

    # Helpers

    async def _states_told(self) -> dict[int, str]:
        return {envelope.sequence_number: envelope.data["status"] for envelope in await self.world.told()}

    def _context(self) -> Context:
        return Context(user_id=self.post.user_id, actor=f"user:{self.post.user_id}")

    def _envelope(self) -> Envelope:
        return wrap(CancelPost(post_id=self.post.id), service="gateway", subject="x", context=self._context())

    def _try(self, work: Any) -> bool:
        """Run a use case in its transaction; a refusal changes nothing."""

        async def run() -> bool:
            try:
                async with self.world.database.transaction() as tx:
                    await work(tx)
            except Problem:
                return False
            return True

        is_done = self.loop.run(run())
        self._reload()
        if not is_done:
            assert self.post == self.before
        return is_done

    def _reload(self) -> None:
        self.before, self.post = self.post, self.loop.run(self.world.reload(self.post))
        assert self.post.version >= self.before.version
        if self.before.state is PostState.PUBLISHED:
            assert self.post.state is PostState.PUBLISHED
        if self.post.state is not self.before.state:
            assert self.post.version > self.before.version
        assert self.post.attempt >= self.before.attempt

    def _hear(self) -> None:
        due = [envelope for envelope in self.loop.run(self.world.told()) if envelope.key == "scheduler.post.due.v1"]
        for envelope in due[self.told_due :]:
            number = envelope.data["attempt"]
            assert number == len(self.attempts) + 1, "attempts count up, one by one"
            assert envelope.data["dismissed_attempts"] == self.post.dismissed_attempts
            for earlier in self.attempts.values():
                is_out = earlier.truth in PROVEN or earlier.number <= self.post.dismissed_attempts
                assert is_out, f"attempt {number} while {earlier.number} is {earlier.truth}"
            self.attempts[number] = Attempt(number)
        self.told_due = len(due)

    def _may_work(self, attempt: Attempt) -> bool:
        """Tell whether the publisher lets it: it has no end yet, every earlier attempt is proven out or dismissed, none live."""
        if attempt.truth in LIVE | PROVEN:
            return False
        earlier = [one for one in self.attempts.values() if one.number < attempt.number]
        if any(one.truth in LIVE for one in earlier):
            return False
        dismissed = self.post.dismissed_attempts
        return all(one.truth in PROVEN or (one.truth == "unconfirmed" and one.number <= dismissed) for one in earlier)

    def _cancel_attempt(self, number: int) -> bool:
        attempt = self.attempts[number]
        if attempt.truth in PROVEN:
            return True
        if attempt.truth in LIVE | {"unconfirmed"} or attempt.is_irrevocable:
            return False
        self._tell(attempt, "cancelled")
        return True

    def _tell(self, attempt: Attempt, what: str) -> None:
        now = utc_now()
        fields = {
            "post_id": self.post.id,
            "attempt": attempt.number,
            "job_id": uuid7(),
            "account_id": self.post.account_id,
            "replica": "r",
        }
        trouble = {"code": "c", "message": "m"}
        success = {"publish_id": "v~1", "published_at": now}
        truth: str | None = None
        event: contract.PublishEvent
        match what:
            case "started":
                event = contract.PublishStarted(**fields, due_at=now, started_at=now, lateness_ms=0)
            case "deferred":
                event = contract.PublishDeferred(**fields, **trouble, until=now + timedelta(minutes=1))
            case "submitted":
                attempt.is_irrevocable = True
                event = contract.PublishSubmitted(**fields, publish_id="v~1")
            case "published" | "inbox":
                truth = "published" if what == "published" else "sent_to_inbox"
                event = contract.PublishSucceeded(**fields, **success, outcome=truth)
            case "failed" | "final":
                truth = "failed"
                event = contract.PublishFailed(**fields, **trouble, retryable=what == "failed")
            case "lost":
                truth = "unconfirmed"
                event = contract.PublishUnconfirmed(**fields, **trouble)
            case _:
                truth = "cancelled"
                event = contract.PublishCancelled(**fields)
        attempt.truth = truth or attempt.truth
        attempt.steps += 1
        sequence = attempt.number * 100_000 + attempt.steps
        context = Context(user_id=self.post.user_id, actor="service:publisher")
        self.told.append(wrap(event, service="publisher", subject=str(self.post.id), context=context, sequence=sequence))


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


def test_the_life_of_a_post(world: Any, loop: Loop) -> None:
    """Some 700 steps of 18 lives."""

    class Life(LifeOfAPost):
        pass

    Life.world, Life.loop = world, loop
    chosen = settings(
        max_examples=40,
        stateful_step_count=40,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(Life, settings=chosen)
    finally:
        loop.run(world.database.stop())
