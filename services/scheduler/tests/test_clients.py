"""What neighbours answer badly is understood as being away."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest

from common.clock import utc_now
from common.http.client import ServiceClient
from common.ids import uuid7
from common.testing.eventually import eventually
from common.testing.keys import ServiceKeys
from scheduler.clients import remembered, silence
from scheduler.clients.account_grants import AccountGrants
from scheduler.clients.accounts import AccountsAway, AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.daily_caps import DailyCaps
from scheduler.clients.publisher import PublisherAway, PublisherClient, PublisherUndecided
from scheduler.clients.publisher_places import PublisherPlaces
from scheduler.clients.silence import Silence
from scheduler.clients.timeline import TimelineClient
from scheduler.domain.creator import Creator
from scheduler.domain.daily_cap import Day

Client = Callable[[int, Any], ServiceClient]


@pytest.fixture
def asked() -> list[httpx.Request]:
    return []


@pytest.fixture
def client(service_keys: ServiceKeys, asked: list[httpx.Request]) -> Client:
    def make(status: int, body: Any) -> ServiceClient:
        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            kind = "application/problem+json" if status >= 400 else "application/json"
            return httpx.Response(status, json=body, headers={"content-type": kind})

        http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        return ServiceClient(http, "http://neighbour", audience="accounts", signer=service_keys.signer("scheduler"))

    return make


PROBLEM = {"type": "x", "status": 403, "code": "caller_not_allowed", "detail": "no"}


@pytest.mark.parametrize(
    ("status", "body"), [(403, PROBLEM), (500, PROBLEM), (200, {"items": [{"id": "x"}]}), (200, []), (404, PROBLEM)]
)
async def test_accounts_that_cannot_be_listed(client: Client, status: int, body: Any) -> None:
    with pytest.raises(AccountsAway):
        await AccountsClient(client(status, body)).active_accounts(uuid7())


@pytest.mark.parametrize(("status", "body"), [(403, PROBLEM), (503, PROBLEM), (200, {"id": "x"})])
async def test_an_account_that_cannot_be_understood(client: Client, status: int, body: Any) -> None:
    with pytest.raises(AccountsAway):
        await AccountsClient(client(status, body)).account(uuid7(), uuid7())


async def test_a_known_account_carries_the_services_own_token(
    client: Client, asked: list[httpx.Request], service_keys: ServiceKeys
) -> None:
    user_id, account_id = uuid7(), uuid7()
    body = {"id": str(account_id), "username": "ann", "status": "expired", "version": 4, "new_field": 1}
    found = await AccountsClient(client(200, body)).account(user_id, account_id)
    assert found is not None
    assert (found.user_id, found.version, found.hold_reason) == (user_id, 4, "account_expired")
    token = asked[0].headers["authorization"].removeprefix("Bearer ")
    assert service_keys.verifier("accounts").verify(token, allowed={"scheduler"}) == "scheduler"


async def test_creator_options_are_asked_once_a_minute(client: Client, asked: list[httpx.Request]) -> None:
    options = CreatorOptions(client(200, {"privacy_level_options": ["SELF_ONLY"]}))
    account_id, user_id = uuid7(), uuid7()
    for _ in range(3):
        assert await options.look(account_id, user_id) == Creator(("SELF_ONLY",))
    assert len(asked) == 1
    assert asked[0].url.path == f"/internal/users/{user_id}/accounts/{account_id}/creator-info"


@pytest.mark.parametrize(
    ("status", "body"), [(502, PROBLEM), (409, PROBLEM), (200, {}), (200, {"privacy_level_options": [1]})]
)
async def test_unknown_creator_options_do_not_hold_up_the_next_post(
    client: Client, asked: list[httpx.Request], status: int, body: Any
) -> None:
    options = CreatorOptions(client(status, body))
    account_id = uuid7()
    for _ in range(3):
        assert await options.look(account_id, uuid7()) is None
    assert len(asked) == 1


async def test_creator_options_remember_a_bounded_number(
    client: Client, asked: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MAX_KNOWN", 2)
    options = CreatorOptions(client(200, {"privacy_level_options": []}))
    first, second, third = uuid7(), uuid7(), uuid7()
    for account_id in (first, second, third, third, second, first):
        await options.look(account_id, uuid7())
    assert len(asked) == 4


async def test_the_life_of_a_grant_is_asked_once_a_minute(client: Client, asked: list[httpx.Request]) -> None:
    account_id, user_id = uuid7(), uuid7()
    body = {"id": str(account_id), "status": "active", "grant_expires_at": "2030-01-01T00:00:00Z", "scopes": ["a", "b"]}
    grants = AccountGrants(AccountsClient(client(200, body)))
    for _ in range(3):
        found = await grants.look(account_id, user_id)
        assert found is not None
        assert found.grant_expires_at == datetime(2030, 1, 1, tzinfo=UTC)
        assert found.scopes == {"a", "b"}
    assert len(asked) == 1


async def test_scopes_that_were_not_told_are_not_known(client: Client) -> None:
    account_id = uuid7()
    found = await AccountGrants(AccountsClient(client(200, {"id": str(account_id), "status": "active"}))).look(
        account_id, uuid7()
    )
    assert found is not None
    assert found.scopes is None


async def test_an_unknown_grant_does_not_hold_up_the_next_post(client: Client, asked: list[httpx.Request]) -> None:
    grants = AccountGrants(AccountsClient(client(503, PROBLEM)))
    account_id = uuid7()
    for _ in range(3):
        assert await grants.look(account_id, uuid7()) is None
    assert len(asked) == 1


DAY = {"allowed": 2, "window_seconds": 60, "moments": ["2030-01-01T00:00:00Z"], "not_before": None}


async def test_a_day_is_asked_once_a_minute_for_each_mode(client: Client, asked: list[httpx.Request]) -> None:
    days, account_id = DailyCaps(client(200, DAY)), uuid7()
    for mode in ("direct", "inbox", "direct"):
        day = await days.look(account_id, uuid7(), mode)
        assert day == Day(2, timedelta(seconds=60), (datetime(2030, 1, 1, tzinfo=UTC),), None)
    assert [request.url.params["mode"] for request in asked] == ["direct", "inbox"]


@pytest.mark.parametrize(
    ("status", "body"), [(503, PROBLEM), (404, PROBLEM), (200, {**DAY, "allowed": 0}), (200, {**DAY, "moments": ["x"]})]
)
async def test_an_unknown_day_does_not_hold_up_the_next_post(
    client: Client, asked: list[httpx.Request], status: int, body: Any
) -> None:
    days, account_id = DailyCaps(client(status, body)), uuid7()
    for _ in range(3):
        assert await days.look(account_id, uuid7(), "direct") is None
    assert len(asked) == 1


async def test_the_publishers_word(client: Client) -> None:
    assert await PublisherClient(client(200, {"outcome": "cancelled"})).cancel(uuid7(), 1)
    assert not await PublisherClient(client(200, {"outcome": "too_late"})).cancel(uuid7(), 1)
    with pytest.raises(PublisherUndecided):
        await PublisherClient(client(200, {"outcome": "undecided"})).cancel(uuid7(), 1)
    for status, body in ((404, PROBLEM), (500, PROBLEM), (200, None), (200, {"outcome": "x"})):
        with pytest.raises(PublisherAway):
            await PublisherClient(client(status, body)).cancel(uuid7(), 1)


class Hanging:
    """A publisher that answers nobody before it is told to."""

    def __init__(self) -> None:
        self.asked, self.go_on = Counter[UUID](), asyncio.Event()

    async def cancel(self, post_id: UUID, attempt: int) -> bool:
        self.asked[post_id] += 1
        await self.go_on.wait()
        return True

    look = cancel


@pytest.mark.parametrize(("question", "share", "waiting"), [("cancel", 10, 60), ("look", 4, 8)])
async def test_many_questions_of_one_user_leave_places_to_others(question: str, share: int, waiting: int) -> None:
    publisher = Hanging()
    ask = getattr(PublisherPlaces(publisher), question)  # type: ignore[arg-type]
    crowd, other = [SimpleNamespace(id=uuid7(), user_id=uuid7(), attempt=1) for _ in range(2)]
    tasks = [asyncio.create_task(ask(crowd)) for _ in range(share + waiting)]
    tasks.append(asyncio.create_task(ask(other)))
    await eventually(lambda: publisher.asked[other.id] > 0)
    assert publisher.asked[crowd.id] == share
    with pytest.raises(PublisherAway):
        await ask(crowd)
    publisher.go_on.set()
    assert all(await asyncio.gather(*tasks))


async def test_who_waits_in_vain_spares_the_others_the_wait(
    client: Client, asked: list[httpx.Request], monkeypatch: Any
) -> None:
    monkeypatch.setattr(silence, "LONG_S", 0.0)
    accounts, options = AccountsClient(client(503, PROBLEM)), CreatorOptions(client(503, PROBLEM))
    user_id = uuid7()
    for _ in range(5):
        with pytest.raises(AccountsAway):
            await accounts.active_accounts(user_id)
        assert await options.look(uuid7(), user_id) is None
    assert len(asked) == 3 + 3
    assert await options.look(uuid7(), user_id, patience=5.0) is None
    assert len(asked) == 3 + 3 + 1, "who has more patience asks all the same"


def test_silence_is_broken_by_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(silence, "monotonic", lambda: now)
    kept = Silence(5)
    for about in "aab":
        kept.note(about, answered=False, waited=1)
    assert not kept.is_kept(), "several about one thing count once"
    kept.note("c", answered=False, waited=1)
    assert kept.is_kept()
    now += 5
    assert [kept.is_kept(), kept.is_kept()] == [False, True]
    kept.note("d", answered=False, waited=0.1)
    assert not kept.is_kept(), "a refusal keeps nobody waiting"


async def test_a_timeline_that_cannot_be_had(client: Client) -> None:
    odd = {"type": "post.scheduled", "at": "yesterday"}
    for status, body in (
        (404, PROBLEM),
        (500, PROBLEM),
        (200, {"items": [1]}),
        (200, {"items": [odd]}),
        (200, {"items": [{}]}),
    ):
        told = await TimelineClient(client(status, body)).of_post(uuid7(), uuid7(), created_at=utc_now())
        assert (told.items, told.is_complete) == ([], False)
