"""The lives of two posts of one account under chance: the real use cases on real PostgreSQL, duplicates, reorderings, late truth.

Whatever their owner sends, the publisher tells and accounts reports goes into a bag, and may come out of it at any time, in any
order across both, any number of times, through the doors that the messages of RabbitMQ take.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from common.clock import utc_now
from common.contracts.envelope import Envelope
from common.contracts.message import Command
from common.contracts.registry import COMMANDS
from common.contracts.scheduler import (
    CancelPost,
    ConfirmPost,
    CreatePost,
    GivenFields,
    PublishPostNow,
    RetryPost,
    UpdatePost,
)
from common.ids import uuid7
from common.messaging.reply import Reply
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.post import Post
from scheduler.domain.post_states import FINISHED, MOVING, WAITING, PostState
from scheduler.storage.posts import lock_post
from scheduler.storage.sweep import SweepLimits
from scheduler.usecases.sweep_posts import expire_posts, sweep_posts

pytestmark = pytest.mark.integration

LIVE = {"published", "sent_to_inbox"}
PROVEN = {"failed", "cancelled"}
STATES_TOLD_BY_THE_PUBLISHER = {PostState.PUBLISHING, PostState.DEFERRED, PostState.PROCESSING}
ENDED = {PostState.PUBLISHED, PostState.SENT_TO_INBOX, PostState.CANCELLED}
AFTERLIFE_STEPS = 8
"""So long what comes late has no effect on an ended post; then the next one begins."""
ACTORS = [*["publisher", "bag", "all"] * 3, *["time", "owner"] * 2, "both", "account"]
"""Who acts next; one rule draws it, since rules of their own would be switched off together in many a life."""
NEXT = {
    PostState.DRAFT: ("owner", "complete"),
    PostState.SCHEDULED: ("time", "edit"),
    PostState.RETRY_SCHEDULED: ("time", "publish_now"),
    PostState.FAILED: ("owner", "retry"),
    PostState.UNCONFIRMED: ("publisher", "retry"),
}
"""By whom a post gets on, and its owner's most likely wish."""
WISHES = ["complete", "edit", "edit", "publish_now", "retry", "confirm", "confirm", "cancel"]
STEPS = [*["started", "deferred"] * 5, *["failed"] * 4, *["submitted", "lost"] * 2, "published", "sent_to_inbox", "final"]
AFTER_A_LOSS = [*["final"] * 3, "published", "sent_to_inbox", *[None] * 4]
SOURCES: list[dict[str, Any] | None] = [
    *[None] * 3,
    {"source_url": "https://videos.example.com/a.mp4", "transfer": "pull"},
    {"photo_urls": ["https://photos.example.com/a.jpg"]},
]
"""None: a file of the library."""
KEYED_VERSION = 5
SEEDS = st.integers(0, 2**32 - 1)


@dataclass
class Account:
    """The account of both posts: as it stands, and what was told of it."""

    copy: AccountCopy
    version: int = 1
    status: str = "active"
    news: list[Envelope] = field(default_factory=list)


class Life:
    """One post after the other, its owner, the clock, the due loop and the publisher."""

    def __init__(self, stage: Any, account: Account, lives: "list[Life]", chance: Random) -> None:
        self.stage, self.run, self.world = stage, stage.loop.run, stage.world
        self.account, self.lives = account, lives
        self.begin(chance)

    def begin(self, chance: Random) -> None:
        """Let a new post come in place of the one that has ended."""
        self.sent: list[Envelope] = []
        self.answers: dict[Any, Reply] = {}
        self.seen_live = self.is_hidden = False
        self.newest: datetime | None = None
        self.told_due = self.afterlife = self.checked_version = 0
        self._create(chance.choice(SOURCES), is_draft=chance.random() < 0.1)

    def goes_on(self, chance: Random) -> None:
        """Let something happen to this post; only its account and the due loop touch the other one, too."""
        others = {life.post.id: life.post for life in self.lives if life is not self}
        self.may_touch_others = False
        self._something_happens(chance)
        if not self.may_touch_others:
            for life in self.lives:
                assert life is self or life.as_stored() == others[life.post.id]

    def _something_happens(self, chance: Random) -> None:
        self.afterlife = self.afterlife + 1 if self.is_hidden or self.post.state in ENDED else 0
        if self.afterlife > AFTERLIFE_STEPS:
            self.begin(chance)
        actor, _ = NEXT.get(self.post.state, ("publisher", None))
        match chance.choice([*ACTORS, *[actor] * 8]):
            case "owner":
                self._its_owner_sends(chance)
            case "account":
                self._its_account_changes(chance)
            case "time" if self.post.state in WAITING | MOVING:
                self._time_passes(chance)
            case "publisher" if (attempt := self.publisher.working(self.post.dismissed_attempts)) is not None:
                self._its_publisher_works(chance, attempt)
            case "all" if self.publisher.told:
                self._all_told_arrives(chance, [self])
            case "both":
                self._all_told_arrives(chance, self.lives)
            case _:
                self._something_arrives(chance)

    def _create(self, source: dict[str, Any] | None, *, is_draft: bool) -> None:
        source = source or {"media_id": self.run(self.world.media(self.account.copy.user_id, sha256=uuid4().hex * 2))}
        given = {"tiktok_account_id": self.account.copy.id, "privacy_level": "PUBLIC_TO_EVERYONE", "draft": is_draft}
        time = None if is_draft else utc_now() + timedelta(hours=1)
        create = CreatePost.model_validate({**source, **given, "scheduled_time": time})
        envelope = self.stage.command(self.account.copy, create, is_keyed=True)
        self.sent.append(envelope)
        reply = self.run(self.stage.doors.command(envelope))
        assert reply.status == 201, reply.body
        self.answers[envelope.id] = reply
        assert reply.body is not None
        self.id = UUID(reply.body["id"])
        self.post: Post = self.as_stored()
        self.before = self.post
        is_fetched = self.post.is_fetched_by_tiktok
        self.publisher = self.stage.doors.publishers[self.id] = self.stage.publisher(self.id, self.account.copy, is_fetched)

    # What its owner sends; it may arrive at once or later, once or often, and may be refused, which changes nothing.

    def _its_owner_sends(self, chance: Random) -> None:
        envelope = self.stage.command(self.account.copy, self._wish(chance), is_keyed=_often(chance))
        self.sent.append(envelope)
        if _often(chance):
            self._arrive(envelope, is_away=not _often(chance))

    def _wish(self, chance: Random) -> Command:
        post_id, flag = self.post.id, _often(chance)
        _, wish = NEXT.get(self.post.state, (None, "cancel"))
        match chance.choice([*WISHES, *[wish] * 4]):
            case "complete" | "edit" as what:
                given: dict[str, Any] = {"caption": "a" if flag else "b"}
                if what == "complete":
                    given |= {"draft": False, "scheduled_time": utc_now() + timedelta(hours=1)}
                if_match = [str(self.post.version)] if flag else None
                return UpdatePost(post_id=post_id, changes=GivenFields.model_validate(given), if_match=if_match)
            case "publish_now":
                return PublishPostNow(post_id=post_id)
            case "retry":
                return RetryPost(post_id=post_id, confirm_not_published=flag)
            case "confirm" if self.post.state is PostState.UNCONFIRMED or flag:
                return ConfirmPost(post_id=post_id, tiktok_video_id="73")
            case "cancel":
                return CancelPost(post_id=post_id)
            case _:
                return PublishPostNow(post_id=post_id)

    def _arrive(self, envelope: Envelope, *, is_away: bool) -> None:
        self.publisher.is_away = is_away
        command = COMMANDS[envelope.key].model_validate(envelope.data)
        if envelope.id in self.answers:
            self._arrive_again(envelope)
            return
        may, hides = self._may(command, envelope.time), self._hides(envelope.time)
        reply = self.run(self.stage.doors.command(envelope))
        self._reload()
        assert (reply.status < 400) is may, (command, self.before.state, reply)
        if not may:
            assert self.post == replace(self.before, cancel_asked=self.post.cancel_asked)
            assert self.post.cancel_asked or not (isinstance(command, CancelPost) and reply.status == 503)
            if self.before.cancel_asked and not self.post.cancel_asked:
                self.answers[envelope.id] = reply
            return
        self.answers[envelope.id] = reply
        if isinstance(command, RetryPost) and self.before.state is PostState.UNCONFIRMED and self._is_live():
            assert self.post.state in {PostState.PUBLISHED, PostState.SENT_TO_INBOX}
            self.seen_live = True
        elif isinstance(command, UpdatePost | PublishPostNow | RetryPost):
            self.newest = max(envelope.time, self.newest or envelope.time)
        if isinstance(command, CancelPost):
            self.is_hidden = self.post.deleted_at is not None
            assert self.is_hidden is hides

    def _arrive_again(self, envelope: Envelope) -> None:
        """Repeat what its client gave a key; anything else that comes twice was sent again by the gateway: nobody waits for it."""
        doors = self.stage.doors
        is_keyed = envelope.id.version == KEYED_VERSION
        reply = self.run(doors.command(envelope) if is_keyed else doors.command_again(envelope))
        self._reload()
        assert reply == self.answers[envelope.id], "a repeat is answered alike"
        assert self.post == self.before, "and has no second effect"

    def _hides(self, sent_at: datetime) -> bool:
        """Say whether a DELETE of that moment is to take the post off the lists, not to stop it."""
        ended_at = self.post.ended_at
        was_to_be_stopped = self.post.cancel_asked or (ended_at is not None and ended_at > sent_at)
        return self.post.state is PostState.DRAFT or (self.post.state in FINISHED and not was_to_be_stopped)

    def _may(self, command: Command, sent_at: datetime) -> bool:
        """Say whether a command that has not run yet is to be carried out."""
        state, is_newest = self.post.state, self.newest is None or sent_at >= self.newest
        if self.is_hidden:
            return False
        match command:
            case UpdatePost():
                is_current = is_newest if command.if_match is None else str(self.post.version) in command.if_match
                return state in {PostState.DRAFT, PostState.SCHEDULED} and is_current
            case PublishPostNow():
                return state in WAITING and not self.post.held and is_newest
            case RetryPost() if state is PostState.UNCONFIRMED:
                is_answered = command.confirm_not_published and not self.publisher.is_away
                is_about_it = is_newest and self.post.ended_at is not None and sent_at >= self.post.ended_at
                return is_answered and (self._is_live() or (self.account.status == "active" and is_about_it))
            case RetryPost():
                return state is PostState.FAILED and self.account.status == "active" and is_newest
            case ConfirmPost():
                return state is PostState.UNCONFIRMED
            case CancelPost() if state in MOVING:
                is_asked = state is not PostState.PROCESSING or self.post.is_fetched_by_tiktok
                is_decided = is_asked and not self.publisher.is_away
                return is_decided and self.publisher.would_cancel(self.post.attempt)
            case CancelPost():
                return state in WAITING | {PostState.CANCELLED} or self._hides(sent_at)
            case _:
                return True

    def _is_live(self) -> bool:
        return self.publisher.live(self.post.attempt) is not None

    # What its account does.

    def _its_account_changes(self, chance: Random) -> None:
        account = self.account
        envelope = self.stage.news(
            account.copy, 2 + len(account.news), chance.choice(["active", "active", "inactive", "expired"])
        )
        account.news.append(envelope)
        if _often(chance):
            self._hear_of_account(envelope)

    def _hear_of_account(self, envelope: Envelope) -> None:
        self.may_touch_others = True
        self.run(self.stage.doors.event(envelope))
        if envelope.sequence_number > self.account.version:
            self.account.version, self.account.status = envelope.sequence_number, envelope.data["status"]
        for life in self.lives:
            life._reload()

    # What time, the due loop and the sweep do.

    def _time_passes(self, chance: Random) -> None:
        too_late = chance.random() < 0.1
        if self.post.state in MOVING:
            self._is_silent_for_too_long()
        elif not self.post.held:
            self._is_due(too_late=too_late)
        elif too_late:
            self._stays_held_until_its_deadline()

    def _is_due(self, *, too_late: bool) -> None:
        also = ", publish_before = now() - interval '1 s'" if too_late else ""
        self.run(
            self.world.execute(f"UPDATE posts SET next_attempt_at = now() - interval '1 s'{also} WHERE id = :id", id=self.id)
        )
        self.may_touch_others = True
        self.run(self.world.claim())
        for life in self.lives:
            life._reload()
            life._hear()
        assert self.post.state is (PostState.FAILED if too_late else PostState.DUE)

    def _stays_held_until_its_deadline(self) -> None:
        self.run(self.world.execute("UPDATE posts SET publish_before = now() - interval '1 s' WHERE id = :id", id=self.id))
        self.run(self._in_transaction(lambda tx: expire_posts(tx, self.world.outbox, limit=5)))
        self._reload()
        assert (self.post.state, self.post.error_code) == (PostState.FAILED, "deadline_passed")

    def _is_silent_for_too_long(self) -> None:
        self.run(self.world.execute("UPDATE posts SET sweep_at = now() - interval '1 s' WHERE id = :id", id=self.id))
        self.run(self._in_transaction(lambda tx: sweep_posts(tx, self.world.outbox, SweepLimits())))
        self._reload()
        assert (self.post.state, self.post.version) == (self.before.state, self.before.version)
        self._hear()

    async def _in_transaction(self, work: Any) -> None:
        async with self.world.database.transaction() as tx:
            await work(tx)

    # What the publisher does.

    def _its_publisher_works(self, chance: Random, attempt: Any) -> None:
        what = chance.choice(AFTER_A_LOSS if attempt.truth == "unconfirmed" else STEPS)
        if what is None:
            return
        envelope = self.publisher.tell(attempt, what)
        if _often(chance):
            self._deliver(envelope)

    def _deliver(self, envelope: Envelope) -> None:
        self.run(self.stage.doors.event(envelope))
        self.seen_live |= envelope.key == "publisher.publish.succeeded.v1"
        self._reload()
        if self.before.state is PostState.UNCONFIRMED:
            assert self.post.state is not PostState.RETRY_SCHEDULED, "the machine never tries a lost one again"

    # What comes out of the bag: again, late, or in another order; of an event also a telling of its own.

    def _something_arrives(self, chance: Random) -> None:
        bags = {"sent": self.sent, "told": self.publisher.told, "news": self.account.news}
        name = chance.choice([name for name in ("told", "told", "sent", "news") if bags[name]])
        envelope = chance.choice(bags[name])
        if name == "sent":
            self._arrive(envelope, is_away=False)
            return
        taken = self._deliver if name == "told" else self._hear_of_account
        taken(envelope.model_copy(update={"id": uuid7()}) if _often(chance) else envelope)

    def _all_told_arrives(self, chance: Random, lives: "list[Life]") -> None:
        """In whatever order the rest comes, in the end each post is where its publisher is."""
        self.may_touch_others |= len(lives) > 1
        told = [(life, envelope) for life in lives for envelope in life.publisher.told]
        for life, envelope in chance.sample(told, len(told)):
            life._deliver(envelope.model_copy(update={"id": uuid7()}))
        for life in lives:
            life._is_where_its_publisher_is()

    def _is_where_its_publisher_is(self) -> None:
        truths = {attempt.truth for attempt in self.publisher.attempts.values()}
        if truths & LIVE:
            by_owner = any(one.key == ConfirmPost.KEY and one.id in self.answers for one in self.sent)
            assert self.post.status == ("published" if "published" in truths or by_owner else "sent_to_inbox")
        elif self.publisher.told and self.post.state in MOVING | {PostState.UNCONFIRMED}:
            assert self.post.status == self.publisher.attempts[self.post.attempt].status

    # What always holds.

    def check(self) -> None:
        """Pass when all of it does."""
        self.the_machine_never_tries_again_unproven()
        self.evidence_is_never_lost()
        self.it_is_held_while_its_account_is_paused_and_never_else()
        self.what_waits_has_a_time()
        self.every_change_of_state_is_an_event_and_a_version()

    def the_machine_never_tries_again_unproven(self) -> None:
        attempts = self.publisher.attempts.values()
        for attempt in attempts:
            for earlier in attempts:
                if earlier.number < attempt.number:
                    assert earlier.truth in PROVEN or earlier.number <= self.post.dismissed_attempts
        undismissed = [one for one in attempts if one.number > self.post.dismissed_attempts]
        assert sum(one.truth in LIVE for one in undismissed) <= 1

    def evidence_is_never_lost(self) -> None:
        if self.seen_live:
            assert self.post.state in {PostState.PUBLISHED, PostState.SENT_TO_INBOX}

    def it_is_held_while_its_account_is_paused_and_never_else(self) -> None:
        assert self.post.held is (self.post.state in WAITING and self.account.status != "active")

    def what_waits_has_a_time(self) -> None:
        assert (self.post.next_attempt_at is not None) is (self.post.state in WAITING)

    def every_change_of_state_is_an_event_and_a_version(self) -> None:
        if self.post.version == self.checked_version:
            return
        self.checked_version = self.post.version
        states = self.run(self._states_told())
        if self.post.state in STATES_TOLD_BY_THE_PUBLISHER:
            assert self.post.version > max(states)
        else:
            newest = max(states)
            assert (newest, states[newest]) == (self.post.version, self.post.status)

    # Helpers

    async def _states_told(self) -> dict[int, str]:
        mine = [envelope for envelope in await self.world.told() if envelope.subject == str(self.id)]
        told = [envelope for envelope in mine if not envelope.data.get("again")]
        return {envelope.sequence_number: envelope.data["status"] for envelope in told}

    def as_stored(self) -> Post:
        """Return the post as it is now."""

        async def read() -> Post | None:
            async with self.world.database.transaction() as tx:
                return await lock_post(tx.connection, self.id)

        post: Post | None = self.run(read())
        assert post is not None
        return post

    def _reload(self) -> None:
        self.before, self.post = self.post, self.as_stored()
        assert self.post.version >= self.before.version
        if self.before.state is PostState.PUBLISHED:
            assert self.post.state is PostState.PUBLISHED
        if self.post.state is not self.before.state:
            assert self.post.version > self.before.version
        assert self.post.attempt >= self.before.attempt

    def _hear(self) -> None:
        told = [envelope for envelope in self.run(self.world.told()) if envelope.subject == str(self.id)]
        due = [envelope for envelope in told if envelope.key == "scheduler.post.due.v1"]
        for envelope in due[self.told_due :]:
            assert envelope.data["dismissed_attempts"] == self.post.dismissed_attempts
            assert envelope.data["attempt"] == self.post.attempt
            self.publisher.hear(self.post.attempt, self.post.dismissed_attempts, again=envelope.data["again"])
        self.told_due = len(due)


def _often(chance: Random) -> bool:
    return chance.random() < 0.7


class LivesOfTwoPosts(RuleBasedStateMachine):
    """Two posts of one account; each step is one of either's."""

    stage: Any

    @initialize(seed=SEEDS)
    def start(self, seed: int) -> None:
        self.seed, self.drawn = seed, Counter[int]()
        stage, chance = self.stage, Random(seed)
        stage.loop.run(stage.world.execute("TRUNCATE posts, outbox_messages, kept.messages, inbox_messages"))
        stage.doors.publishers.clear()
        account = Account(stage.loop.run(stage.world.account()))
        self.lives: list[Life] = []
        self.lives += [Life(stage, account, self.lives, chance) for _ in range(2)]

    @rule(seed=SEEDS)
    def something_happens(self, seed: int) -> None:
        self.drawn[seed] += 1
        # Hypothesis loves some numbers; the same choice again and again makes a dull life. A step that is left out to find a
        # shorter way to a failure leaves the others as they are.
        chance = Random(f"{self.seed} {seed} {self.drawn[seed]}")
        chance.choice(self.lives).goes_on(chance)

    @invariant()
    def all_that_always_holds(self) -> None:
        for life in self.lives:
            life.check()


@pytest.mark.timeout(600)
def test_the_lives_of_two_posts(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,440 steps of some 70 lives; a failure is shown in the fewest steps that were found for it."""
    # All clocks of a life are one.
    monkeypatch.setattr("scheduler.domain.owner_requests.CLOCKS_APART", timedelta(0))

    class Lives(LivesOfTwoPosts):
        pass

    Lives.stage = stage
    chosen = settings(
        max_examples=18,
        stateful_step_count=80,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Lives, settings=chosen)
