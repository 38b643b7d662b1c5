"""What the life of a post needs around it: an event loop, the doors of a scheduler, and its publisher as a model of the truth."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4, uuid5

import httpx
import pytest

from common.clock import rfc3339, utc_now
from common.contracts import accounts as accounts_contract
from common.contracts import publisher as contract
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.message import Command
from common.http.client import ServiceClient
from common.ids import uuid7
from common.messaging.commands import CommandHandling
from common.messaging.events import handle_events
from common.messaging.inbox import Inbox
from common.messaging.incoming import Incoming
from common.messaging.publisher import Outgoing
from common.messaging.reply import Reply
from common.messaging.reply_rows import stored_reply
from common.testing.keys import ServiceKeys
from scheduler.clients.account_grants import AccountGrants
from scheduler.clients.accounts import AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.daily_caps import DailyCaps
from scheduler.clients.object_storage import ObjectStorage
from scheduler.clients.publisher import Look, PublisherAway, ToldEvent
from scheduler.clients.publisher_places import PublisherPlaces
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.outcome import Patience
from scheduler.domain.retry import RetryPolicy
from scheduler.handlers.events import EventHandlers
from scheduler.handlers.post_commands import PostCommands
from scheduler.storage.tables import inbox
from scheduler.usecases.apply_publish_event import PublishRules
from scheduler.usecases.stored_files import StoredFiles
from scheduler.usecases.surroundings import Surveyor

T = TypeVar("T")
RULES = PublishRules(RetryPolicy(delays=(timedelta(0),), max_attempts=3, jitter=0), Patience())
LIVE = {"published", "sent_to_inbox"}
PROVEN = {"failed", "cancelled"}
STATUS = {"started": "publishing", "deferred": "deferred", "submitted": "processing"}


class Loop:
    """An event loop of its own, for a machine that is not async."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@dataclass
class Attempt:
    """What really became of an attempt, what a post shows of it, and whether anything of it may be out already."""

    number: int
    truth: str = "queued"
    status: str = "due"
    is_irrevocable: bool = False
    steps: int = 0


class PublisherModel:
    """Plays the publisher of one post: it obeys its own rule when an attempt may start, and keeps all that it ever told."""

    def __init__(self, post_id: UUID, account: AccountCopy, is_fetched: bool) -> None:
        self._post_id = post_id
        self._account = account
        self._is_fetched = is_fetched
        self.attempts: dict[int, Attempt] = {}
        self.told: list[Envelope] = []
        self.is_away = False

    def hear(self, number: int, dismissed: int, *, again: bool) -> None:
        """Take `PostDue`: attempts count up one by one, none starts before the earlier ones are out; a question is answered."""
        if again:
            mine = [envelope for envelope in self.told if envelope.data["attempt"] == number]
            self.told += [mine[-1].model_copy(update={"id": uuid7()})] if mine else []
            return
        assert number == len(self.attempts) + 1, "attempts count up, one by one"
        for earlier in self.attempts.values():
            is_out = earlier.truth in PROVEN or earlier.number <= dismissed
            assert is_out, f"attempt {number} while {earlier.number} is {earlier.truth}"
        self.attempts[number] = Attempt(number)

    def working(self, dismissed: int) -> Attempt | None:
        """Return the newest attempt that may go on."""
        return next((one for one in reversed(self.attempts.values()) if self._may_work(one, dismissed)), None)

    def _may_work(self, attempt: Attempt, dismissed: int) -> bool:
        """Tell whether it has no end yet, every earlier attempt is proven out or dismissed, and none is live."""
        if attempt.truth in LIVE | PROVEN:
            return False
        earlier = [one for one in self.attempts.values() if one.number < attempt.number]
        return all(one.truth in PROVEN or (one.truth == "unconfirmed" and one.number <= dismissed) for one in earlier)

    async def cancel(self, post_id: UUID, attempt: int) -> bool:
        """Decide about a cancellation, as the publisher's route does."""
        assert post_id == self._post_id
        if self.is_away:
            raise PublisherAway("away")
        return self.decide(self.attempts[attempt])

    async def look(self, post_id: UUID, attempt: int) -> Look:
        """Look at TikTok once more, as the publisher's route does."""
        assert post_id == self._post_id
        if self.is_away:
            raise PublisherAway("away")
        live = self.live(attempt)
        if live is None:
            return Look(outcome="not_published")
        return Look(outcome="live", event=ToldEvent(key=live.key, data=live.data, sequence=live.sequence_number))

    def live(self, until: int) -> Envelope | None:
        """Return what tells that one of the attempts is live, None when none is."""
        succeeded = [envelope for envelope in self.told if envelope.key == contract.PublishSucceeded.KEY]
        return next((envelope for envelope in succeeded if envelope.data["attempt"] <= until), None)

    def would_cancel(self, number: int) -> bool:
        """Tell what `cancel` would answer, without deciding."""
        attempt = self.attempts[number]
        return attempt.truth in PROVEN or not (attempt.truth in LIVE | {"unconfirmed"} or attempt.is_irrevocable)

    def decide(self, attempt: Attempt) -> bool:
        """Stop an attempt unless it is too late."""
        if not self.would_cancel(attempt.number):
            return False
        if attempt.truth not in PROVEN:
            self.tell(attempt, "cancelled")
        return True

    def tell(self, attempt: Attempt, what: str) -> Envelope:
        """Do a step of an attempt and tell of it."""
        event, truth = self._event(attempt, what)
        attempt.truth = truth or attempt.truth
        if truth is None and attempt.status != "processing":
            attempt.status = STATUS[what]
        attempt.status = truth or attempt.status
        # TikTok gives up what it fetches itself.
        attempt.is_irrevocable |= what == "submitted" and not self._is_fetched
        attempt.steps += 1
        sequence = attempt.number * 100_000 + attempt.steps
        context = Context(user_id=self._account.user_id, actor="service:publisher")
        self.told.append(wrap(event, service="publisher", subject=str(self._post_id), context=context, sequence=sequence))
        return self.told[-1]

    def _event(self, attempt: Attempt, what: str) -> tuple[contract.PublishEvent, str | None]:
        now = utc_now()
        fields = {"post_id": self._post_id, "attempt": attempt.number, "job_id": uuid7(), "account_id": self._account.id}
        fields |= {"replica": "r"}
        trouble = {"code": "c", "message": "m"}
        match what:
            case "started":
                return contract.PublishStarted(**fields, due_at=now, started_at=now, lateness_ms=0), None
            case "deferred":
                return contract.PublishDeferred(**fields, **trouble, until=now + timedelta(minutes=1)), None
            case "submitted":
                return contract.PublishSubmitted(**fields, publish_id="v~1"), None
            case "published" | "sent_to_inbox":
                success = {"publish_id": "v~1", "published_at": now, "outcome": what}
                return contract.PublishSucceeded.model_validate(fields | success), what
            case "failed" | "final":
                return contract.PublishFailed(**fields, **trouble, retryable=what == "failed"), "failed"
            case "lost":
                return contract.PublishUnconfirmed(**fields, **trouble), "unconfirmed"
            case _:
                return contract.PublishCancelled(**fields), "cancelled"


@dataclass
class Doors:
    """Where commands and events come into a scheduler, as from RabbitMQ: with inbox, stored replies and all."""

    world: Any
    keys: ServiceKeys
    publishers: dict[UUID, PublisherModel] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(_answer))
        client = ServiceClient(http, "http://accounts", audience="accounts", signer=self.keys.signer("scheduler"))
        accounts = AccountsClient(client)
        # Nothing of a life's posts depends on the bytes: a storage that is away is no news.
        files = StoredFiles(self.world.database, ObjectStorage("file:///nowhere"))
        creators, grants, days = CreatorOptions(client), AccountGrants(accounts), DailyCaps(client)
        surveyor = Surveyor(self.world.database, accounts, creators, grants, files, days)
        asked = PublisherPlaces(self)  # type: ignore[arg-type]
        posts = PostCommands(self.world.database, self.world.outbox, self.world.waker, surveyor, asked, frozenset(), RULES)
        self._commands = CommandHandling(self.world.database, inbox, self, posts.routes())  # type: ignore[arg-type]
        events = EventHandlers(self.world.outbox, self.world.waker, RULES)
        routes = [*events.publish_routes(), *events.account_routes()]
        self._handle_event = handle_events(self.world.database, Inbox(inbox), routes)

    async def command(self, envelope: Envelope) -> Reply:
        """Deliver a command of somebody who waits, and return the reply."""
        await self._commands.handle(_delivery(envelope, reply_to="asker"))
        return self.replies.pop()

    async def command_again(self, envelope: Envelope) -> Reply | None:
        """Deliver a command that was sent again because its confirm was lost: nobody waits; return what its operation tells."""
        await self._commands.handle(_delivery(envelope))
        assert envelope.userid is not None
        async with self.world.database.read() as connection:
            return await stored_reply(connection, inbox, envelope.id, envelope.userid)

    async def event(self, envelope: Envelope) -> None:
        """Deliver an event."""
        await self._handle_event(_delivery(envelope))

    async def publish(self, message: Outgoing) -> None:
        """Take a reply on its way out."""
        self.replies.append(Reply.model_validate_json(message.body))

    async def cancel(self, post_id: UUID, attempt: int) -> bool:
        """Ask the post's publisher."""
        return await self.publishers[post_id].cancel(post_id, attempt)

    async def look(self, post_id: UUID, attempt: int) -> Look:
        """Ask the post's publisher."""
        return await self.publishers[post_id].look(post_id, attempt)


def _answer(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/creator-info"):
        return httpx.Response(200, json={"privacy_level_options": ["PUBLIC_TO_EVERYONE"]})
    account_id = request.url.path.rsplit("/", 1)[1]
    grant = rfc3339(utc_now() + timedelta(days=100))
    return httpx.Response(200, json={"id": account_id, "status": "active", "grant_expires_at": grant})


def _delivery(envelope: Envelope, *, reply_to: str | None = None) -> Incoming:
    async def acknowledge() -> None:
        return None

    return Incoming("life", envelope.to_bytes(), acknowledge, envelope.key, reply_to=reply_to)


def command_of(account: AccountCopy, message: Command, *, is_keyed: bool) -> Envelope:
    """Return a command as the gateway sends it, with a client's key or with an id of its own."""
    context = Context(user_id=account.user_id, actor=f"user:{account.user_id}")
    command_id = uuid5(account.id, str(uuid4())) if is_keyed else uuid7()
    return wrap(message, service="gateway", subject="x", context=context, envelope_id=command_id, request_hash="h")


def news_of(account: AccountCopy, version: int, status: str) -> Envelope:
    """Return an event of the account."""
    event = accounts_contract.AccountUpdated(
        account_id=account.id, user_id=account.user_id, tiktok_user_id="t", username="ann", display_name="Ann", status=status,
        scopes=[],
    )  # fmt: skip
    context = Context(user_id=account.user_id)
    return wrap(event, service="accounts", subject=str(account.id), context=context, sequence=version)


@dataclass(frozen=True)
class Stage:
    """All that a life is played on."""

    world: Any
    loop: Loop
    doors: Doors
    publisher: Callable[[UUID, AccountCopy, bool], PublisherModel] = PublisherModel
    command: Callable[..., Envelope] = command_of
    news: Callable[[AccountCopy, int, str], Envelope] = news_of


@pytest.fixture
def stage(world: Any, service_keys: ServiceKeys) -> Iterator[Stage]:
    """Give the stage of a life; its database belongs to its own event loop."""
    loop = Loop()
    yield Stage(world, loop, Doors(world, service_keys))
    loop.run(world.database.stop())
    loop.stop()
