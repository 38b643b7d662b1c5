"""What TikTok's webhook `authorization.removed` does to an account, on real servers."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from aio_pika import DeliveryMode, Message

from accounts.domain.withdrawal import CLOCKS_DIFFER, is_of_an_older_grant
from accounts.handlers.tiktok_webhooks import ACCEPTED_FOR, SETTLED_WITHIN, TikTokWebhooks
from accounts.storage.held_grants import find_held_grant
from accounts.token_refresher import GRANT_GONE
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.gateway import WebhookReceived
from common.ids import uuid7
from common.messaging.incoming import ATTEMPT_HEADER
from common.messaging.topology import MAX_ATTEMPTS
from common.testing.amqp import broker_channel, next_message, send
from common.testing.eventually import eventually
from tiktok._http import data_of
from tiktok.errors import ScopeMissing, TikTokRateLimited, TikTokUnavailable, TokenInvalid
from tiktok_simulator.faults import Fault

EXPIRED = "accounts.account.expired.v1"
QUEUE = "accounts.webhooks"
DISCONNECTED = "The creator disconnected the app in TikTok."
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

Tell = Callable[..., Awaitable[Envelope]]


@pytest.mark.parametrize(("seconds", "older"), [(3600, False), (0, False), (-60, False), (-61, True), (-86_400, True)])
def test_a_pair_given_after_the_removal_is_of_a_newer_grant(seconds: int, older: bool) -> None:
    assert timedelta(seconds=60) == CLOCKS_DIFFER
    assert is_of_an_older_grant(NOW + timedelta(seconds=seconds), NOW) is older


@pytest.fixture(autouse=True)
def handled(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Note each webhook that a replica is done with; in place before the first replica is wired."""
    done: list[UUID] = []
    original = TikTokWebhooks.handle

    async def noting(self: TikTokWebhooks, incoming: Any) -> None:
        await original(self, incoming)
        done.append(incoming.envelope().id)

    monkeypatch.setattr(TikTokWebhooks, "handle", noting)
    return done


@pytest.fixture
async def tell(handled: list[UUID], accounts: Any, broker_url: str) -> AsyncIterator[Tell]:
    """Publish a webhook as the gateway does."""
    async with broker_channel(broker_url) as channel:
        exchange = await channel.get_exchange("cuepost.events")

        async def one(
            open_id: str = "", *, again: Envelope | None = None, seconds: float = 0, content: Any = None, **changes: Any
        ) -> Envelope:
            fields = {
                "client_key": accounts.parts.settings.tiktok_client_key,
                "event": "authorization.removed",
                "create_time": int(time.time() + seconds),
                "user_openid": open_id,
                "content": {"reason": 1} if content is None else content,
            }
            context = Context(actor="webhook:tiktok", client_ip="192.0.2.9", correlation_id="hook-1")
            event = WebhookReceived(**(fields | changes))
            envelope = again or wrap(event, service="gateway", subject=open_id or "x", context=context, envelope_id=uuid7())
            message = Message(envelope.to_bytes(), delivery_mode=DeliveryMode.PERSISTENT)
            await exchange.publish(message, routing_key=envelope.key, mandatory=True)
            one.told += 1  # type: ignore[attr-defined]
            return envelope

        one.told = 0  # type: ignore[attr-defined]
        yield one


def open_id(accounts: Any, creator: str = "demo_public") -> str:
    return str(accounts.simulator.state.creators.named(creator).open_id)


async def connected(accounts: Any, *, minutes_ago: int = 10, creator: str = "demo_public") -> tuple[Any, UUID]:
    """Connect an account whose grant is older than what the tests tell of."""
    person = await accounts.register()
    account_id = await accounts.connect(person, creator)
    await accounts.execute(
        f"UPDATE account_tokens SET obtained_at = obtained_at - interval '{minutes_ago} minutes'"
        f" WHERE account_id = '{account_id}'"
    )
    return person, account_id


def withdraw(accounts: Any, creator: str = "demo_public") -> str:
    """Take the access away at TikTok, without its telling; returns the creator's id."""
    accounts.simulator.state.grants.revoke(open_id(accounts, creator))
    return open_id(accounts, creator)


async def shown(accounts: Any, person: Any, account_id: UUID) -> dict[str, Any]:
    answer = await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def settled(tell: Tell, handled: list[UUID]) -> Callable[[], Awaitable[None]]:
    """Return a wait for every webhook told so far to have been handled; a dead letter never is."""

    async def wait() -> None:
        await eventually(lambda: len(handled) >= tell.told)  # type: ignore[attr-defined]

    return wait


async def test_a_withdrawal_expires_the_account_and_says_why(accounts: Any, events: Any, tell: Tell) -> None:
    person, account_id = await connected(accounts)
    webhook = await tell(withdraw(accounts), content={"reason": 4, "something": "new"})
    (event,) = await events.of(EXPIRED)
    assert event.data["reason"] == "TikTok banned the creator's account."
    assert (event.data["account_id"], event.userid, event.actor) == (str(account_id), person.user_id, "webhook:tiktok")
    assert (event.correlationid, event.causationid) == ("hook-1", str(webhook.id))
    account = await shown(accounts, person, account_id)
    assert (account["status"], account["last_error"]) == ("expired", "TikTok banned the creator's account.")
    assert (await accounts.access_token(account_id)).json()["code"] == "account_expired"
    assert await accounts.scalar("SELECT count(*) FROM account_tokens WHERE next_refresh_at IS NOT NULL") == 0


async def test_repeats_and_late_repeats_change_nothing(
    start: Any, accounts: Any, events: Any, tell: Tell, settled: Any
) -> None:
    await start()
    person, account_id = await connected(accounts)
    webhook = await tell(withdraw(accounts), seconds=-120)
    for _ in range(5):
        await tell(again=webhook)
    await tell(open_id(accounts), seconds=-119)
    await events.of(EXPIRED)
    await settled()
    assert await accounts.connect(person) == account_id
    await tell(again=webhook)
    await tell(open_id(accounts), seconds=-300)
    await settled()
    assert (await shown(accounts, person, account_id))["status"] == "active"
    assert len(await events.of(EXPIRED)) == 1


async def test_a_withdrawal_older_than_the_last_refresh_is_ignored(
    accounts: Any, events: Any, tell: Tell, settled: Any
) -> None:
    person, account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id)
    assert (await accounts.access_token(account_id)).status_code == 200
    await tell(open_id(accounts), seconds=-240)
    await settled()
    assert (await shown(accounts, person, account_id))["status"] == "active"
    assert [event for event in events.received if event.key == EXPIRED] == []


BEFORE = ACCEPTED_FOR.total_seconds() + 10
"""So many seconds after a removal a token that works proves that the access was not withdrawn."""


async def test_a_grant_that_works_is_not_ended_by_what_somebody_tells(
    accounts: Any, events: Any, tell: Tell, settled: Any
) -> None:
    person, account_id = await connected(accounts)
    await tell(open_id(accounts), seconds=-BEFORE)
    await settled()
    assert (await shown(accounts, person, account_id))["status"] == "active"
    await tell(withdraw(accounts))
    (event,) = await events.of(EXPIRED)
    assert event.data["reason"] == DISCONNECTED


@pytest.fixture
async def waiting(broker_url: str) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Return how to take the next message that waits five minutes, which it does after 36 s; `again` lets it be looked at."""
    async with broker_channel(broker_url) as channel:
        waits = await channel.declare_queue(f"waits.{uuid4().hex}", exclusive=True)
        await waits.bind("cuepost.retry.5m")

        async def one() -> Any:
            return await next_message(channel, waits.name, timeout=200)

        async def again(message: Any) -> None:
            copy = Message(message.body, headers=message.headers, user_id=message.user_id)
            await channel.default_exchange.publish(copy, routing_key=message.routing_key)

        one.again = again  # type: ignore[attr-defined]
        yield one


@pytest.mark.parametrize(("minutes_ago", "seconds"), [(0, 0), (10, 0), (10, 3600)])
async def test_a_token_that_still_works_is_looked_at_again_minutes_later(
    accounts: Any, events: Any, tell: Tell, waiting: Any, minutes_ago: int, seconds: int
) -> None:
    """TikTok may take it for some seconds more, so the first look settles nothing."""
    person, account_id = await connected(accounts, minutes_ago=minutes_ago)
    await tell(open_id(accounts), seconds=seconds)
    message = await waiting()
    assert (await shown(accounts, person, account_id))["status"] == "active"
    withdraw(accounts)
    await waiting.again(message)
    (event,) = await events.of(EXPIRED)
    assert event.data["reason"] == DISCONNECTED


@pytest.mark.parametrize("status", [403, 404])
async def test_a_page_of_something_in_between_is_no_word_of_tiktok(
    accounts: Any, events: Any, waiting: Any, tell: Tell, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    await connected(accounts, minutes_ago=20)
    page = httpx.Response(status, content=b"<html>Blocked</html>", request=httpx.Request("GET", "https://tiktok.example"))

    async def blocked(*_: Any, **__: Any) -> None:
        data_of(page)

    with monkeypatch.context() as patch:
        patch.setattr("accounts.clients.profiles.ProfileReader.read", blocked)
        await tell(withdraw(accounts), seconds=-BEFORE)
        message = await waiting()
    await waiting.again(message)
    (event,) = await events.of(EXPIRED)
    assert event.data["reason"] == DISCONNECTED


@pytest.mark.parametrize("no_verdict", [TikTokUnavailable("no_answer", sent=True), TikTokRateLimited("x", retry_after=1)])
async def test_while_tiktok_does_not_say_the_withdrawal_waits(
    accounts: Any, events: Any, tell: Tell, no_verdict: Exception
) -> None:
    await connected(accounts, minutes_ago=0)
    withdraw(accounts)
    asked: list[Any] = []

    async def refuse(access: Any, *_: Any, **__: Any) -> None:
        asked.append(access)
        if len(asked) == 1:
            raise no_verdict
        raise TokenInvalid("access_token_invalid")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accounts.clients.profiles.ProfileReader.read", refuse)
        await tell(open_id(accounts))
        await events.of(EXPIRED)
    assert len(asked) == 2


async def late_try(accounts: Any, broker_url: str, envelope: Envelope) -> tuple[Any, str]:
    """Let a webhook be looked at as often as messages are looked at, TikTok being silent; returns where it went, and how."""
    async with broker_channel(broker_url) as channel:
        waits = await channel.declare_queue(f"waits.{uuid4().hex}", exclusive=True)
        await waits.bind("cuepost.retry.5m")
        dead = await channel.declare_queue(f"{QUEUE}.dead", passive=True)
        await dead.purge()
        silent = Fault(endpoint="/v2/user/info/", times=20, drop=True)
        accounts.simulator.state.faults.add(silent)
        await send(channel, QUEUE, envelope, headers={ATTEMPT_HEADER: MAX_ATTEMPTS - 1})

        async def settled() -> tuple[Any, str] | None:
            for queue, name in ((waits, "waits"), (dead, "dead")):
                if (found := await queue.get(fail=False, no_ack=True)) is not None:
                    return found, name
            return None

        found: list[tuple[Any, str]] = []

        async def gone_on() -> bool:
            found.extend(filter(None, [await settled()]))
            return bool(found)

        await eventually(gone_on, timeout=60)
        accounts.simulator.state.faults.clear()
        return found[0]


async def test_a_withdrawal_is_not_given_up_while_tiktok_is_silent(accounts: Any, events: Any, broker_url: str) -> None:
    """An outage of TikTok's outlasts the tries that every message has; the withdrawal goes on waiting, and counts in the end."""
    person, account_id = await connected(accounts)
    fields = {"client_key": accounts.parts.settings.tiktok_client_key, "event": "authorization.removed"}
    removed = WebhookReceived(**fields, create_time=int(time.time()), user_openid=withdraw(accounts), content={"reason": 1})
    envelope = wrap(removed, service="gateway", subject="x", context=Context(), envelope_id=uuid7())
    waiting, where = await late_try(accounts, broker_url, envelope)
    assert (where, waiting.headers[ATTEMPT_HEADER], waiting.routing_key) == ("waits", MAX_ATTEMPTS, QUEUE)
    assert (await shown(accounts, person, account_id))["status"] == "active"
    async with broker_channel(broker_url) as channel:
        # As the tier does after its five minutes.
        again = Message(waiting.body, headers=waiting.headers, user_id=waiting.user_id)
        await channel.default_exchange.publish(again, routing_key=waiting.routing_key)
    (event,) = await events.of(EXPIRED)
    assert (event.data["account_id"], event.data["reason"]) == (str(account_id), DISCONNECTED)


async def test_a_withdrawal_that_tiktok_leaves_open_for_a_week_is_for_an_operator(
    accounts: Any, events: Any, broker_url: str
) -> None:
    await connected(accounts, minutes_ago=60 * 24 * 8)
    removed = WebhookReceived(
        client_key=accounts.parts.settings.tiktok_client_key,
        event="authorization.removed",
        create_time=int(time.time() - SETTLED_WITHIN.total_seconds()) - 1,
        user_openid=withdraw(accounts),
        content={"reason": 1},
    )
    time_of = datetime.fromtimestamp(removed.create_time, UTC)
    envelope = wrap(removed, service="gateway", subject="x", context=Context(), envelope_id=uuid7(), time=time_of)
    letter, where = await late_try(accounts, broker_url, envelope)
    assert where == "dead"
    assert letter.headers["x-cuepost-reason"].startswith("TikTok does not say whether the access was withdrawn")


async def test_a_scope_that_is_missing_proves_that_the_token_works(
    accounts: Any, events: Any, tell: Tell, settled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, account_id = await connected(accounts)

    async def refuse(*_: Any, **__: Any) -> None:
        raise ScopeMissing("scope_not_authorized")

    monkeypatch.setattr("accounts.clients.profiles.ProfileReader.read", refuse)
    await tell(open_id(accounts), seconds=-BEFORE)
    await settled()
    assert (await shown(accounts, person, account_id))["status"] == "active"


async def test_what_concerns_nobody_here_is_passed_over(accounts: Any, events: Any, tell: Tell, settled: Any) -> None:
    person, account_id = await connected(accounts)
    mine = open_id(accounts)
    await tell(f"-000{uuid4().hex}")
    await tell("")
    await tell(mine, client_key="another-app")
    await tell(mine, event="post.publish.complete", content="not an object")
    await tell(mine, event="something.new", content={})
    await settled()
    assert (await shown(accounts, person, account_id))["status"] == "active"
    await accounts.execute(f"UPDATE tiktok_accounts SET disconnected_at = now() WHERE id = '{account_id}'")
    await tell(mine)
    await settled()
    assert [event for event in events.received if event.key == EXPIRED] == []


async def test_a_paused_account_expires_too_and_others_do_not(accounts: Any, events: Any, tell: Tell) -> None:
    person, account_id = await connected(accounts)
    await accounts.execute(f"UPDATE tiktok_accounts SET status = 'inactive' WHERE id = '{account_id}'")
    other, other_id = await connected(accounts, creator="demo_private")
    await tell(withdraw(accounts))
    await events.of(EXPIRED)
    assert (await shown(accounts, person, account_id))["status"] == "expired"
    assert (await shown(accounts, other, other_id))["status"] == "active"


@pytest.mark.parametrize("content", ["not json", {}, {"reason": "because"}])
async def test_a_withdrawal_of_the_wrong_shape_is_a_dead_letter(
    accounts: Any, tell: Tell, broker_url: str, content: Any
) -> None:
    webhook = await tell(open_id(accounts), content=content)
    async with broker_channel(broker_url) as channel:
        letter = await next_message(channel, f"{QUEUE}.dead")
    assert Envelope.model_validate_json(letter.body).id == webhook.id
    assert letter.headers["x-cuepost-reason"] == "authorization.removed: The content holds no integer reason."


async def test_a_refresh_under_way_is_waited_for(
    accounts: Any, events: Any, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, account_id = await connected(accounts)
    await accounts.execute(
        f"UPDATE account_tokens SET lease_id = '{uuid4()}', lease_until = now() + interval '0.7 seconds'"
        f" WHERE account_id = '{account_id}'"
    )
    seen: list[bool] = []

    async def looking(*arguments: Any) -> Any:
        grant = await find_held_grant(*arguments)
        seen.append(grant.refreshing if grant is not None else False)
        return grant

    monkeypatch.setattr("accounts.handlers.tiktok_webhooks.find_held_grant", looking)
    await tell(withdraw(accounts))
    (event,) = await events.of(EXPIRED)
    assert (seen, event.data["reason"]) == ([True, False], DISCONNECTED)


async def test_a_grant_that_changes_meanwhile_is_looked_at_again(
    accounts: Any, events: Any, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, account_id = await connected(accounts)
    judged: list[UUID] = []
    original = TikTokWebhooks._is_gone

    async def meanwhile(self: TikTokWebhooks, grant: Any, *rest: Any) -> bool:
        judged.append(grant.pair_id)
        if len(judged) == 1:
            await accounts.execute(f"UPDATE account_tokens SET pair_id = '{uuid4()}' WHERE account_id = '{account_id}'")
        return await original(self, grant, *rest)

    monkeypatch.setattr(TikTokWebhooks, "_is_gone", meanwhile)
    await tell(withdraw(accounts))
    await events.of(EXPIRED)
    assert len(set(judged)) == 2


async def test_the_reason_is_kept_when_a_refresh_learns_first_that_the_grant_is_gone(
    accounts: Any, events: Any, tell: Tell, settled: Any
) -> None:
    person, account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id)
    await tell(withdraw(accounts), content={"reason": 4})
    told = await events.of(EXPIRED, 2)
    assert {event.data["reason"] for event in told} == {GRANT_GONE, "TikTok banned the creator's account."}
    await tell(open_id(accounts), content={"reason": 1})
    await settled()
    assert (await shown(accounts, person, account_id))["last_error"] == "TikTok banned the creator's account."


async def test_a_withdrawal_before_the_grant_does_not_explain_its_end(accounts: Any, tell: Tell, settled: Any) -> None:
    person, account_id = await connected(accounts)
    await accounts.execute(f"UPDATE tiktok_accounts SET status = 'expired', last_error = '{GRANT_GONE}'")
    await tell(open_id(accounts), seconds=-3600)
    await settled()
    assert (await shown(accounts, person, account_id))["last_error"] == GRANT_GONE
