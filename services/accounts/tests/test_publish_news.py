"""What TikTok refuses of an account's posts is shown by the account; whether its grant is over, TikTok is asked."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aio_pika import DeliveryMode, Message

from accounts.handlers.publish_news import NOT_ACCEPTED, SCOPE_REFUSED, TOKEN_REFUSED, PublishNews
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.message import Event
from common.contracts.publisher import PublishDeferred, PublishSubmitted
from common.errors import Transient
from common.ids import uuid7
from common.messaging.incoming import Incoming
from common.testing.amqp import broker_channel
from common.testing.eventually import eventually
from tiktok.errors import TokenInvalid
from tiktok_simulator.faults import Fault

EXPIRED = "accounts.account.expired.v1"
BANNED = "tiktok_spam_risk_user_banned_from_posting"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

Hear = Callable[..., Awaitable[None]]


def deferred(account_id: UUID, code: str = BANNED, **changes: Any) -> PublishDeferred:
    fields: dict[str, Any] = {"mode": "direct", "code": code, "message": "TikTok says no.", "hint": "Appeal."} | changes
    return PublishDeferred(post_id=uuid7(), attempt=1, job_id=uuid7(), account_id=account_id, replica="r", **fields)


def submitted(account_id: UUID, privacy_level: str | None = "SELF_ONLY", **changes: Any) -> PublishSubmitted:
    fields: dict[str, Any] = {"publish_id": "v~1", "privacy_level": privacy_level} | changes
    return PublishSubmitted(post_id=uuid7(), attempt=1, job_id=uuid7(), account_id=account_id, replica="r", **fields)


def envelope_of(event: Event, at: datetime) -> Envelope:
    return wrap(event, service="publisher", subject="post", context=Context(), envelope_id=uuid7(), time=at)


@pytest.fixture
def hear(accounts: Any, monkeypatch: pytest.MonkeyPatch) -> Hear:
    """Let the service's own handler take an event of the publisher's that was told so many seconds after the beginning."""

    async def one(event: Event, seconds: float = 0, *, start: datetime = NOW) -> None:
        body = envelope_of(event, start + timedelta(seconds=seconds)).to_bytes()
        await accounts.publish_news.handle(Incoming("accounts.publish_news", body, _done, "accounts.publish_news"))

    parts = accounts.parts
    accounts.publish_news = PublishNews(
        parts.database, parts.outbox, parts.tokens, parts.profiles, parts.settings.required_scopes
    )
    return one


async def _done() -> None:
    """Acknowledge nothing."""


async def shown(accounts: Any, person: Any, account_id: UUID) -> tuple[str, str | None]:
    answer = await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)
    assert answer.status_code == 200, answer.text
    return answer.json()["status"], answer.json()["last_error"]


async def version(accounts: Any) -> int:
    return int(await accounts.scalar("SELECT version FROM tiktok_accounts"))


async def test_what_tiktok_refuses_is_shown_until_it_takes_a_post_of_that_mode_again(accounts: Any, hear: Hear) -> None:
    """In whatever order it is heard: the time of each word decides. No other service is told: nothing else changes."""
    person = await accounts.register()
    account_id = await accounts.connect(person)
    before = await version(accounts)
    await hear(deferred(account_id), 10)
    told = ("active", "TikTok takes no posts of mode direct at the moment. TikTok says no. Appeal.")
    assert await shown(accounts, person, account_id) == told
    await hear(submitted(account_id), 5)
    await hear(submitted(account_id, None), 20)
    await hear(submitted(account_id, again=True), 20)
    assert await shown(accounts, person, account_id) == told
    await hear(submitted(account_id), 20)
    assert await shown(accounts, person, account_id) == ("active", None)
    await hear(deferred(account_id), 15)
    assert await shown(accounts, person, account_id) == ("active", None)
    await hear(deferred(account_id, mode="inbox", hint=None), 30)
    await hear(deferred(account_id, message="Later."), 40)
    assert "Later." in str((await shown(accounts, person, account_id))[1])
    await hear(submitted(account_id), 50)
    told = ("active", "TikTok takes no posts of mode inbox at the moment. TikTok says no.")
    assert await shown(accounts, person, account_id) == told
    assert await version(accounts) == before


async def test_another_refusal_takes_the_place_of_the_one_before(accounts: Any, hear: Hear) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await hear(deferred(account_id, message="First."), 1)
    await hear(deferred(account_id, message="The same again."), 2)
    assert "First." in str((await shown(accounts, person, account_id))[1])
    await hear(deferred(account_id, "tiktok_unaudited_client_can_only_post_to_private_accounts", message="Second."), 3)
    assert "Second." in str((await shown(accounts, person, account_id))[1])


@pytest.mark.parametrize(
    "changes",
    [{"again": True}, {"mode": None}, {"until": NOW}, {"code": "account_paused"}, {"code": "tiktok_quota", "until": NOW}],
)
async def test_other_waits_say_nothing_of_an_account(accounts: Any, hear: Hear, changes: dict[str, Any]) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await hear(deferred(account_id, **changes))
    await hear(deferred(uuid7()))
    await hear(submitted(uuid7()))
    assert await shown(accounts, person, account_id) == ("active", None)
    assert await accounts.scalar("SELECT count(*) FROM account_refusals") == 0


async def test_connecting_again_ends_what_was_refused_before(accounts: Any, hear: Hear) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await hear(deferred(account_id))
    await accounts.connect(person)
    await hear(deferred(account_id), 60)
    assert await shown(accounts, person, account_id) == ("active", None)
    await hear(deferred(account_id), 60, start=datetime.now(UTC))
    assert (await shown(accounts, person, account_id))[1] is not None


def take_away(accounts: Any, scope: str) -> None:
    """Let TikTok leave a scope out from the next refresh on."""
    refresh = accounts.simulator.state.grants._refresh
    for token in list(refresh):
        left = tuple(granted for granted in token.scopes if granted != scope)
        refresh.put(token.token, token.model_copy(update={"scopes": left}))


async def test_a_grant_that_lacks_what_posting_needs_is_over(accounts: Any, events: Any, hear: Hear) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    take_away(accounts, "video.publish")
    await hear(deferred(account_id, SCOPE_REFUSED))
    (event,) = await events.of(EXPIRED)
    assert (event.data["account_id"], event.userid) == (str(account_id), person.user_id)
    assert "video.publish" in event.data["reason"]
    assert await shown(accounts, person, account_id) == ("expired", event.data["reason"])
    calls = accounts.token_calls()
    await hear(deferred(account_id, SCOPE_REFUSED), 1)
    assert accounts.token_calls() == calls, "it is expired, and nobody is asked again"
    await accounts.connect(person)
    assert await shown(accounts, person, account_id) == ("active", None)


async def test_a_right_that_connecting_does_not_need_or_that_is_there_is_shown_only(accounts: Any, hear: Hear) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    take_away(accounts, "video.upload")
    await hear(deferred(account_id, SCOPE_REFUSED, mode="inbox"))
    calls = accounts.token_calls()
    status, error = await shown(accounts, person, account_id)
    assert (status, "mode inbox" in str(error)) == ("active", True)
    await hear(deferred(account_id, SCOPE_REFUSED, mode="inbox"), 1)
    assert accounts.token_calls() == calls, "it stands already, and nobody is asked again"


async def test_a_token_that_tiktok_does_not_take_though_it_renewed_it_is_over(
    accounts: Any, events: Any, hear: Hear, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    asked: list[Any] = []

    async def read(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise TokenInvalid("access_token_invalid", told=len(asked) > 1)

    monkeypatch.setattr("accounts.clients.profiles.ProfileReader.read", read)
    with pytest.raises(Transient) as silent:
        await hear(deferred(account_id, TOKEN_REFUSED))
    assert silent.value.until == NOW + timedelta(days=1)
    assert await shown(accounts, person, account_id) == ("active", None)
    await hear(deferred(account_id, TOKEN_REFUSED))
    await events.of(EXPIRED)
    assert await shown(accounts, person, account_id) == ("expired", NOT_ACCEPTED)


async def test_a_token_that_tiktok_takes_says_nothing_and_is_tried_once_for_all_posts_that_wait(
    accounts: Any, hear: Hear, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    asked: list[Any] = []

    async def read(*_: Any, **__: Any) -> None:
        asked.append(1)

    monkeypatch.setattr("accounts.clients.profiles.ProfileReader.read", read)
    for second in range(3):
        await hear(deferred(account_id, TOKEN_REFUSED), second)
    assert await shown(accounts, person, account_id) == ("active", None)
    assert len(asked) == 1


async def test_while_tiktok_does_not_renew_the_word_waits(accounts: Any, events: Any, hear: Hear) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    take_away(accounts, "video.publish")
    accounts.simulator.state.faults.add(Fault(endpoint="/v2/oauth/token/", status=503, times=20))
    with pytest.raises(Transient):
        await hear(deferred(account_id, SCOPE_REFUSED))
    assert await shown(accounts, person, account_id) == ("active", None)


async def test_a_grant_that_turns_out_to_be_gone_says_so(accounts: Any, events: Any, hear: Hear) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    accounts.simulator.state.grants.revoke(accounts.simulator.state.creators.named("demo_public").open_id)
    await hear(deferred(account_id, SCOPE_REFUSED))
    (event,) = await events.of(EXPIRED)
    assert await shown(accounts, person, account_id) == ("expired", event.data["reason"])


async def test_the_publishers_word_is_heard(accounts: Any, broker_url: str) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    async with broker_channel(broker_url) as channel:
        exchange = await channel.get_exchange("cuepost.events")
        for event in (deferred(account_id), submitted(account_id)):
            envelope = envelope_of(event, datetime.now(UTC))
            message = Message(envelope.to_bytes(), delivery_mode=DeliveryMode.PERSISTENT)
            await exchange.publish(message, routing_key=envelope.key, mandatory=True)
            wanted = isinstance(event, PublishDeferred)
            await eventually(lambda wanted=wanted: _is_refused(accounts, person, account_id, wanted))


async def _is_refused(accounts: Any, person: Any, account_id: UUID, wanted: bool) -> bool:
    return ((await shown(accounts, person, account_id))[1] is not None) == wanted
