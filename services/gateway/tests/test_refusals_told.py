"""Requests that lack a right, or come from a revoked session, are told of, once a minute for each, and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from common.auth.claims import UserClaims
from common.clock import utc_now
from common.contracts.accounts import SessionRevoked
from common.contracts.context import Context
from common.contracts.envelope import Envelope
from common.contracts.gateway import AccessRefused, SessionRefused
from common.testing.eventually import eventually
from gateway.clients.event_sender import EventNotSent, EventRefused
from gateway.usecases import tell_refusals
from gateway.usecases.tell_refusals import AccessRefusals


@pytest_asyncio.fixture(loop_scope="session")
async def told(broker_channel: Any) -> AsyncIterator[list[Envelope]]:
    """Give what is told of from now on."""
    heard: list[Envelope] = []

    async def hear(message: Any) -> None:
        heard.append(Envelope.model_validate_json(message.body))

    queue = await broker_channel.declare_queue(exclusive=True)
    exchange = await broker_channel.declare_exchange("cuepost.events", type="topic", durable=True)
    for kind in (AccessRefused, SessionRefused):
        await queue.bind(exchange, kind.KEY)
    await queue.consume(hear, no_ack=True)
    yield heard


@pytest.mark.integration
async def test_a_key_without_the_right_is_told_of_once_for_each_right(
    gateway: Any, user_keys: Any, user_id: Any, told: list[Envelope]
) -> None:
    key = str(uuid4())
    auth = user_keys.authorization(user_id, api_key_id=key, scopes=["audit:read"]) | {"User-Agent": "robot/1"}
    post = uuid4()
    for _ in range(3):
        assert (await gateway.post("/api/v1/posts", json={}, headers=auth)).status_code == 403
        assert (await gateway.get(f"/api/v1/posts/{post}", headers=auth)).status_code == 403
        assert (await gateway.get("/api/v1/auth/api-keys", headers=auth)).status_code == 403
    await eventually(lambda: len(told) == 3)
    by_right = {envelope.data["right"]: envelope for envelope in told}
    assert {right: envelope.data["operation"] for right, envelope in by_right.items()} == {
        "posts:write": "POST /api/v1/posts",
        "posts:read": "GET /api/v1/posts/{post_id}",
        "session": "GET /api/v1/auth/api-keys",
    }
    event = by_right["posts:write"]
    assert (event.subject, event.userid, event.actor, event.useragent) == (key, user_id, f"api_key:{key}", "robot/1")
    assert (event.data["api_key_id"], event.data["user_id"], event.data["times"]) == (key, str(user_id), 1)


@pytest.mark.integration
async def test_a_token_of_a_revoked_session_is_told_of_once(
    gateway: Any, user_keys: Any, user_id: UUID, emit: Any, told: list[Envelope]
) -> None:
    session = uuid4()
    until = utc_now() + timedelta(hours=1)
    await emit(SessionRevoked(session_id=session, user_id=user_id, reason="logout", tokens_expire_at=until))
    auth = user_keys.authorization(user_id, session_id=str(session)) | {"User-Agent": "robot/1"}

    async def refused() -> bool:
        answer = await gateway.get(f"/api/v1/posts/{uuid4()}", headers=auth)
        return answer.status_code == 401 and answer.json()["code"] == "session_revoked"

    await eventually(refused)
    assert await refused()
    await eventually(lambda: told)
    # Whatever else was noted until then comes before this.
    key = str(uuid4())
    await gateway.get("/api/v1/audit", headers=user_keys.authorization(user_id, api_key_id=key, scopes=["posts:read"]))
    await eventually(lambda: told[-1].subject == key)
    event, _ = told
    assert event.key == SessionRefused.KEY
    assert (event.subject, event.userid, event.actor, event.useragent) == (str(session), user_id, f"user:{user_id}", "robot/1")
    assert event.data == {
        "session_id": str(session),
        "user_id": str(user_id),
        "reason": "revoked",
        "operation": "GET /api/v1/posts/{post_id}",
        "times": 1,
    }


class Sender:
    """Stands in for the broker; while `away`, nothing is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.away = False
        self.tries = 0

    async def send(self, envelope: Envelope) -> None:
        self.tries += 1
        if self.away:
            raise EventNotSent("away")
        self.sent.append(envelope.data)


def claims(key: UUID) -> UserClaims:
    now = utc_now()
    return UserClaims(uuid4(), session_id=None, api_key_id=str(key), scopes=frozenset(), issued_at=now, expires_at=now)


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
async def refusals(sender: Sender) -> AsyncIterator[tuple[AccessRefusals, list[float]]]:
    now = [0.0]
    made = AccessRefusals(sender, clock=lambda: now[0])  # type: ignore[arg-type] # it sends
    await made.start()
    yield made, now
    await made.stop()


async def test_those_between_are_counted(sender: Sender, refusals: Any) -> None:
    made, now = refusals
    one = claims(uuid4())
    for moment in (0.0, 1.0, 59.0, 60.0, 61.0):
        now[0] = moment
        made.note(one, "posts:write", "POST /x", Context())
    await eventually(lambda: [data["times"] for data in sender.sent] == [1, 3])


async def test_what_is_noted_while_the_broker_is_away_is_told_of_later(
    sender: Sender, refusals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tell_refusals, "RETRY_S", 0.01)
    monkeypatch.setattr(tell_refusals, "MAX_WAITING", 3)
    made, _ = refusals
    sender.away = True
    for _ in range(5):
        made.note(claims(uuid4()), "posts:write", "POST /x", Context())
    await eventually(lambda: sender.tries > 2)
    sender.away = False
    await eventually(lambda: len(sender.sent) == 3)


async def test_only_so_many_are_remembered(sender: Sender, refusals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tell_refusals, "MAX_REMEMBERED", 2)
    made, _ = refusals
    for _ in range(4):
        made.note(claims(uuid4()), "posts:write", "POST /x", Context())
    assert len(made._told) == 2
    await eventually(lambda: len(sender.sent) == 4)


async def test_who_stops_sends_what_waits(sender: Sender) -> None:
    made = AccessRefusals(sender)  # type: ignore[arg-type] # it sends
    await made.stop()
    await made.start()
    await asyncio.sleep(0)
    made.note(claims(uuid4()), "posts:write", "POST /x", Context())
    await made.stop()
    assert len(sender.sent) == 1


class SlowSender(Sender):
    """Sends one after the other, each when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.may_send = asyncio.Event(), asyncio.Event()
        self.failure: BaseException | None = None

    async def send(self, envelope: Envelope) -> None:
        self.entered.set()
        await self.may_send.wait()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        await super().send(envelope)


def noted(made: AccessRefusals, number: int) -> list[str]:
    keys = [uuid4() for _ in range(number)]
    for key in keys:
        made.note(claims(key), "posts:write", "POST /x", Context())
    return [str(key) for key in keys]


async def test_who_stops_while_one_is_being_sent_sends_each_once() -> None:
    sender = SlowSender()
    made = AccessRefusals(sender)  # type: ignore[arg-type] # it sends
    await made.start()
    keys = noted(made, 3)
    await sender.entered.wait()
    stopping = asyncio.create_task(made.stop())
    for _ in range(3):
        await asyncio.sleep(0)
    sender.may_send.set()
    await stopping
    assert [data["api_key_id"] for data in sender.sent] == keys


async def test_who_stops_does_not_wait_long_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tell_refusals, "STOP_S", 0.01)
    sender = SlowSender()
    made = AccessRefusals(sender)  # type: ignore[arg-type] # it sends
    await made.start()
    noted(made, 2)
    await sender.entered.wait()
    await asyncio.wait_for(made.stop(), 60)
    assert sender.sent == []


async def test_one_that_cannot_be_sent_for_another_reason_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tell_refusals, "RETRY_S", 0.01)
    sender = SlowSender()
    sender.failure = ValueError("odd")
    sender.may_send.set()
    made = AccessRefusals(sender)  # type: ignore[arg-type] # it sends
    await made.start()
    keys = noted(made, 2)
    await eventually(lambda: sorted(data["api_key_id"] for data in sender.sent) == sorted(keys))
    assert made.healthy() is None
    await made.stop()


@pytest.mark.parametrize("odd", [ValueError("odd"), EventRefused("not allowed")])
async def test_one_that_can_never_be_sent_holds_up_none_behind_it_and_is_given_up(
    sender: Sender, refusals: Any, monkeypatch: pytest.MonkeyPatch, odd: Exception
) -> None:
    monkeypatch.setattr(tell_refusals, "RETRY_S", 0.01)
    tries: list[Envelope] = []
    made, _ = refusals
    send = sender.send

    async def picky(envelope: Envelope) -> None:
        if envelope.subject == keys[0]:
            tries.append(envelope)
            raise odd
        await send(envelope)

    monkeypatch.setattr(sender, "send", picky)
    with capture_logs() as logs:
        keys = noted(made, 3)
        await eventually(lambda: [data["api_key_id"] for data in sender.sent] == keys[1:] and not made._waiting)
    said = [line["event"] for line in logs if line["event"].startswith("access_refusal")]
    assert said == ["access_refusal_waits", "access_refusal_given_up"]
    assert len(tries) == tell_refusals.MAX_FAILURES


async def test_one_that_the_broker_does_not_take_for_a_day_is_given_up(
    sender: Sender, refusals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tell_refusals, "RETRY_S", 0.001)
    made, now = refusals
    sender.away = True
    noted(made, 2)
    await eventually(lambda: sender.tries > 2 * tell_refusals.MAX_FAILURES)
    assert len(made._waiting) == 2
    now[0] += tell_refusals.MAX_AGE_S + 1
    await eventually(lambda: not made._waiting)
    sender.away = False
    keys = noted(made, 1)
    await eventually(lambda: [data["api_key_id"] for data in sender.sent] == keys)
