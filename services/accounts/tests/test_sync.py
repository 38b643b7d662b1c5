"""Reading profiles from TikTok: one account, a hundred, and what goes wrong on the way."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from accounts.domain.profile import Profile
from accounts.security.token_sealing import seal_grant
from accounts.storage.account_tokens import store_new_pair
from accounts.storage.account_writes import insert_account
from common.clock import utc_now
from common.contracts.accounts import AccountSynced, DisconnectAccount, SyncAccount, SyncAccounts, UpdateAccount
from common.ids import uuid7
from common.testing.eventually import eventually
from tiktok.oauth import TokenGrant
from tiktok_simulator.faults import Fault
from tiktok_simulator.personas import CreatorInput

pytestmark = pytest.mark.integration
LIST = "/internal/accounts"
USER_INFO = "/v2/user/info/"
SCOPES = ("user.info.basic", "user.info.profile", "user.info.stats", "video.publish")


async def make_accounts(accounts: Any, person: Any, number: int) -> list[UUID]:
    """Store connected accounts with grants of the simulator, without a browser for each."""
    state, made = accounts.simulator.state, []
    async with accounts.database.transaction() as tx:
        for index in range(number):
            creator = state.creators.upsert(CreatorInput(username=f"c{uuid7().hex[-12:]}", follower_count=index))
            issued = state.grants.issue(creator.open_id, SCOPES)
            grant = TokenGrant(
                access_token=issued.access.token,
                refresh_token=issued.refresh.token,
                expires_in=issued.expires_in,
                refresh_expires_in=issued.refresh_expires_in,
                open_id=creator.open_id,
                scopes=SCOPES,
            )
            account_id = uuid7()
            profile = Profile(open_id=creator.open_id, username=creator.username, display_name="before")
            await insert_account(tx.connection, account_id, person.user_id, profile, SCOPES)
            pair = seal_grant(accounts.parts.vault, grant, asked_at=utc_now(), ahead=timedelta(0))
            await store_new_pair(tx.connection, account_id, pair)
            made.append(account_id)
        await tx.connection.exec_driver_sql("UPDATE tiktok_accounts SET last_synced_at = now() - interval '1 day'")
    return made


def calls(accounts: Any) -> int:
    return sum(accounts.simulator.state.stats.as_json()["requests"].get(USER_INFO, {}).values())


async def detail(accounts: Any, person: Any, account_id: UUID) -> dict[str, Any]:
    found: dict[str, Any] = (await accounts.http.get(f"{LIST}/{account_id}", headers=person.auth)).json()
    return found


async def end_delays(accounts: Any, number: int) -> None:
    """End delayed calls here, so that they do not count in the test that comes next."""
    accounts.simulator.state.faults.clear()
    await eventually(lambda: calls(accounts) == number)


async def test_a_sync_brings_profile_and_counters_up_to_date_and_is_told(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    accounts.simulator.state.creators.upsert(
        CreatorInput(username="demo_public", display_name="Jos\u00e9 \u00d1and\u00fa", follower_count=2**62, video_count=7)
    )
    reply = await send(SyncAccount(account_id=account_id), person)
    assert reply.status == 200, reply.body
    shown = await detail(accounts, person, account_id)
    assert reply.body == {
        "success": True,
        "synced_at": shown["last_synced_at"],
        "follower_count": 2**62,
        "following_count": 310,
        "video_count": 7,
        "message": "Profile and counters are as TikTok shows them.",
    }
    assert (shown["display_name"], shown["follower_count"], shown["likes_count"]) == (
        "Jos\u00e9 \u00d1and\u00fa",
        2**62,
        98213,
    )
    found = (await accounts.http.get(LIST, params={"search": "nandu"}, headers=person.auth)).json()
    assert found["total"] == 1, "the search knows the new name"
    (told,) = await events.of(AccountSynced.KEY, 1)
    assert (told.sequence_number, told.data["follower_count"], told.actor) == (2, 2**62, f"user:{person.user_id}")
    assert (await send(UpdateAccount(account_id=account_id, status="inactive"), person)).status == 200
    assert (await send(SyncAccount(account_id=account_id), person)).status == 200
    assert (await detail(accounts, person, account_id))["status"] == "inactive", "a paused account is read, and stays paused"


async def test_what_the_grant_does_not_show_stays_as_it_was(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person, simulator_scopes="user.info.basic,video.publish")
    await accounts.execute("UPDATE tiktok_accounts SET username = 'kept', follower_count = 5")
    assert (await send(SyncAccount(account_id=account_id), person)).status == 200
    shown = await detail(accounts, person, account_id)
    assert (shown["username"], shown["display_name"], shown["follower_count"]) == ("kept", "Demo Public", 5)


@pytest.mark.parametrize(
    ("fault", "status", "code", "asked"),
    [
        ({"status": 500, "times": 3}, 502, "tiktok_unavailable", 3),
        ({"drop": True, "times": 3}, 502, "tiktok_unavailable", 3),
        ({"status": 500, "times": 2}, 200, None, 3),
        ({"code": "rate_limit_exceeded", "status": 429}, 503, "tiktok_rate_limit_exceeded", 1),
        ({"code": "access_token_invalid", "status": 401, "times": 2}, 502, "tiktok_unavailable", 2),
        ({"code": "access_token_invalid", "status": 401}, 200, None, 2),
        ({"code": "scope_not_authorized", "status": 401}, 409, "missing_scope", 1),
    ],
)
async def test_what_tiktok_answers_is_told(
    accounts: Any, send: Any, fault: dict[str, Any], status: int, code: str | None, asked: int
) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    before, calls_before = await detail(accounts, person, account_id), calls(accounts)
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, **fault))
    reply = await send(SyncAccount(account_id=account_id), person)
    assert (reply.status, (reply.body or {}).get("code")) == (status, code), reply.body
    await eventually(lambda: calls(accounts) - calls_before == asked)
    if status >= 500:
        assert int(reply.headers["Retry-After"]) > 0
    if code is not None:
        after = await detail(accounts, person, account_id)
        assert {name: after[name] for name in ("last_synced_at", "updated_at")} == {
            name: before[name] for name in ("last_synced_at", "updated_at")
        }


async def test_silence_ends(accounts: Any, send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.clients.profiles.TRY_SECONDS", 0.1)
    person = await accounts.register()
    account_id = await accounts.connect(person)
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, delay=30, times=3))
    reply = await send(SyncAccount(account_id=account_id), person)
    assert (reply.status, reply.body["code"]) == (502, "tiktok_unavailable")
    await end_delays(accounts, 4)


async def test_without_a_token_and_without_tiktok_it_is_tiktok_that_is_away(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await accounts.make_refresh_due(account_id, seconds_left=5)
    accounts.simulator.state.faults.add(Fault(endpoint="/v2/oauth/token/", status=500, times=20))
    reply = await send(SyncAccount(account_id=account_id), person)
    assert (reply.status, reply.body["code"]) == (502, "tiktok_unavailable")
    batch = await send(SyncAccounts(account_ids=[account_id]), person)
    assert [item["code"] for item in batch.body["failed"]] == ["tiktok_unavailable"]
    assert calls(accounts) == 1, "that of connecting"


async def test_a_withdrawn_grant_makes_the_account_expired(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    accounts.simulator.state.grants.revoke((await detail(accounts, person, account_id))["tiktok_user_id"])
    for _ in range(2):
        reply = await send(SyncAccount(account_id=account_id), person)
        assert (reply.status, reply.body["code"]) == (409, "account_expired")
    assert (await detail(accounts, person, account_id))["status"] == "expired"


async def test_accounts_that_are_not_there_or_expired_are_not_asked_for(accounts: Any, send: Any) -> None:
    person, other = await accounts.register(), await accounts.register()
    account_id = await accounts.connect(person)
    asked = calls(accounts)
    for who, wanted in ((other, account_id), (person, uuid4())):
        reply = await send(SyncAccount(account_id=wanted), who)
        assert (reply.status, reply.body["code"]) == (404, "account_not_found")
    await accounts.execute("UPDATE tiktok_accounts SET status = 'expired'")
    assert (await send(SyncAccount(account_id=account_id), person)).body["code"] == "account_expired"
    assert calls(accounts) == asked


async def test_a_batch_has_a_result_for_each_account(accounts: Any, send: Any, events: Any) -> None:
    person, other = await accounts.register(), await accounts.register()
    good, gone, expired, failing = await make_accounts(accounts, person, 4)
    (foreign,) = await make_accounts(accounts, other, 1)
    await accounts.execute(f"UPDATE tiktok_accounts SET status = 'expired' WHERE id = '{expired}'")
    await send(DisconnectAccount(account_id=gone), person)
    open_id = await accounts.scalar(f"SELECT open_id FROM tiktok_accounts WHERE id = '{failing}'")
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, open_id=open_id, status=500, times=3))
    unknown = uuid4()
    wanted = [failing, good, foreign, good, gone, unknown, expired, failing]
    reply = await send(SyncAccounts(account_ids=wanted), person)
    assert reply.status == 200
    assert (reply.body["success"], reply.body["total"]) == ([str(good)], 6)
    failed = [(UUID(item["id"]), item["code"]) for item in reply.body["failed"]]
    assert failed == [
        (failing, "tiktok_unavailable"),
        (foreign, "account_not_found"),
        (gone, "account_not_found"),
        (unknown, "account_not_found"),
        (expired, "account_expired"),
    ]
    assert all(set(item) == {"id", "code", "error"} and item["error"] for item in reply.body["failed"])
    (told,) = await events.of(AccountSynced.KEY, 1)
    assert told.subject == str(good)


class Counting(httpx.AsyncBaseTransport):
    """The way to TikTok, counting how many profile calls are on it at once."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport(retries=0)
        self.now = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != USER_INFO:
            return await self.inner.handle_async_request(request)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.inner.handle_async_request(request)
        finally:
            self.now -= 1

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_hundred_accounts_are_read_a_few_at_a_time(start: Callable[..., Any], send: Any, events: Any) -> None:
    way = Counting()
    accounts = await start(tiktok_transport=way)
    person = await accounts.register()
    ids = await make_accounts(accounts, person, 100)
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, delay=0.02, times=100))
    reply = await send(SyncAccounts(account_ids=ids), person)
    assert reply.body == {"success": [str(one) for one in ids], "failed": [], "total": 100}
    assert calls(accounts) == 100
    assert 2 <= way.most <= 8
    assert len(await events.of(AccountSynced.KEY, 100)) == 100


async def test_after_a_429_no_further_account_is_asked_for(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    ids = await make_accounts(accounts, person, 30)
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, code="rate_limit_exceeded", status=429, times=100))
    reply = await send(SyncAccounts(account_ids=ids), person)
    assert (reply.status, len(reply.body["failed"])) == (200, 30)
    assert {item["code"] for item in reply.body["failed"]} == {"tiktok_rate_limit_exceeded"}
    assert calls(accounts) <= 8, "only what was under way already"


async def test_a_wait_for_one_accounts_token_holds_up_no_other(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    ids = await make_accounts(accounts, person, 20)
    await accounts.make_refresh_due(ids[0], seconds_left=-10)
    accounts.simulator.state.faults.add(Fault(endpoint="/v2/oauth/token/", code="rate_limit_exceeded", status=429, times=9))
    reply = await send(SyncAccounts(account_ids=ids), person)
    assert set(reply.body["success"]) == {str(one) for one in ids[1:]}
    assert [item["code"] for item in reply.body["failed"]] == ["tiktok_rate_limit_exceeded"]


async def test_a_batch_ends_within_its_time_and_says_what_it_did_not_come_to(
    accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts.profile_syncs import ProfileSyncs

    monkeypatch.setattr("accounts.profile_syncs.AT_ONCE", 1)
    person = await accounts.register()
    good, silent, not_reached = await make_accounts(accounts, person, 3)
    open_id = await accounts.scalar(f"SELECT open_id FROM tiktok_accounts WHERE id = '{silent}'")
    accounts.simulator.state.faults.add(Fault(endpoint=USER_INFO, open_id=open_id, delay=30, times=3))
    syncs = ProfileSyncs(accounts.database, accounts.parts.tokens, accounts.parts.profiles, batch_seconds=2.0)
    found = await syncs.read_many([good, silent, not_reached], person.user_id)
    assert list(found) == [good, silent, not_reached]
    assert getattr(found[good], "profile", None) is not None
    assert [getattr(found[one], "code", None) for one in (silent, not_reached)] == ["not_read_in_time"] * 2
    await end_delays(accounts, 2)


async def test_two_batches_that_share_accounts_do_not_lock_each_other_out(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    ids = await make_accounts(accounts, person, 20)
    replies = await asyncio.gather(
        send(SyncAccounts(account_ids=ids), person), send(SyncAccounts(account_ids=ids[::-1]), person)
    )
    assert [len(reply.body["success"]) for reply in replies] == [20, 20]


async def test_a_batch_that_comes_twice_is_stored_once(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    ids, command_id = await make_accounts(accounts, person, 3), uuid7()
    command = SyncAccounts(account_ids=ids)
    first, second = await asyncio.gather(*(send(command, person, id=command_id) for _ in range(2)))
    again = await send(command, person, id=command_id)
    assert first == second == again
    assert len(await events.of(AccountSynced.KEY, 3)) == 3


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a delayed answer as long as a test lets it wait."""
    monkeypatch.setattr("accounts.clients.profiles.TRY_SECONDS", 30.0)


@pytest.mark.usefixtures("patient")
async def test_what_was_asked_earlier_never_overwrites_what_is_newer(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    faults, creators = accounts.simulator.state.faults, accounts.simulator.state.creators
    faults.add(Fault(endpoint=USER_INFO, delay=30, delay_at="answer"))
    slow = asyncio.create_task(send(SyncAccount(account_id=account_id), person))
    await eventually(lambda: not faults.items())
    creators.upsert(CreatorInput(username="demo_public", follower_count=777))
    fast = await send(SyncAccount(account_id=account_id), person)
    assert fast.body["follower_count"] == 777
    faults.clear()
    reply = await slow
    assert (reply.status, reply.body["follower_count"]) == (200, 777)
    assert (await detail(accounts, person, account_id))["follower_count"] == 777
    assert len(await events.of(AccountSynced.KEY, 1)) == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("again", [False, True])
async def test_a_sync_that_ends_after_a_disconnection_changes_nothing(accounts: Any, send: Any, again: bool) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    faults, creators = accounts.simulator.state.faults, accounts.simulator.state.creators
    faults.add(Fault(endpoint=USER_INFO, delay=30, delay_at="answer"))
    slow = asyncio.create_task(send(SyncAccount(account_id=account_id), person))
    await eventually(lambda: not faults.items())
    await send(DisconnectAccount(account_id=account_id), person)
    if again:
        creators.upsert(CreatorInput(username="demo_public", follower_count=777))
        await accounts.connect(person)
    version = await accounts.scalar("SELECT version FROM tiktok_accounts")
    faults.clear()
    reply = await slow
    if again:
        assert (reply.status, reply.body["follower_count"]) == (200, 777)
    else:
        assert (reply.status, reply.body["code"]) == (404, "account_not_found")
    assert await accounts.scalar("SELECT version FROM tiktok_accounts") == version
