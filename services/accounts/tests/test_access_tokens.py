"""Access tokens for the services that call TikTok: refreshed ahead of their end, one refresh at a time."""

import asyncio
import hashlib
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from accounts.access_tokens import Patience
from accounts.storage.account_tokens import find_pair, lock_pair, take_lease
from accounts.token_refresher import LEASE
from common.testing.eventually import eventually
from tiktok_simulator.faults import Fault

pytestmark = pytest.mark.integration
TOKEN = "/v2/oauth/token/"
CALLERS = 100
LOCK_NOT_AVAILABLE = "55P03"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def connected(accounts: Any) -> UUID:
    account_id: UUID = await accounts.connect(await accounts.register())
    return account_id


async def test_a_young_token_is_handed_out_as_it_is(accounts: Any) -> None:
    account_id = await connected(accounts)
    calls = accounts.token_calls()
    answers = [await accounts.access_token(account_id) for _ in range(3)]
    assert accounts.token_calls() == calls
    shown = answers[0].json()
    assert set(shown) == {"access_token", "expires_at", "scopes", "open_id", "username", "status"}
    assert (shown["username"], shown["status"]) == ("demo_public", "active")
    assert shown["open_id"] == accounts.simulator.state.creators.named("demo_public").open_id
    assert len({answer.json()["access_token"] for answer in answers}) == 1
    assert answers[0].headers["cache-control"] == "no-store"
    assert accounts.simulator.state.grants.access(shown["access_token"]) is not None


async def test_only_services_that_call_tiktok_may_ask(accounts: Any) -> None:
    account_id = await connected(accounts)
    path = f"/internal/accounts/{account_id}/access-token"
    assert (await accounts.http.post(path)).status_code == 401
    for name, status in (("gateway", 403), ("scheduler", 403), ("analytics", 200), ("publisher", 200)):
        assert (await accounts.http.post(path, headers=accounts.as_service(name))).status_code == status
    unknown = await accounts.access_token(uuid4())
    assert (unknown.status_code, unknown.json()["code"]) == (404, "account_not_found")
    assert (await accounts.access_token(account_id, rejected_token_sha256="nonsense")).status_code == 422


def patient(*replicas: Any) -> None:
    """Let callers wait for the new pair however busy the machine is, instead of being served the old one meanwhile."""
    for replica in replicas:
        replica.parts.tokens._patience = Patience(with_fallback=60, without=60)


async def test_a_hundred_callers_at_once_cause_one_refresh(accounts: Any) -> None:
    patient(accounts)
    account_id = await connected(accounts)
    old = (await accounts.access_token(account_id)).json()["access_token"]
    await accounts.make_refresh_due(account_id)
    calls = accounts.token_calls()
    answers = await asyncio.gather(*(accounts.access_token(account_id) for _ in range(CALLERS)))
    assert {answer.status_code for answer in answers} == {200}
    tokens = {answer.json()["access_token"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {old}
    assert accounts.token_calls() == calls + 1


@pytest.mark.parametrize("left", [120, -5])
async def test_two_replicas_refresh_once_between_them(start: Any, left: float) -> None:
    one, two = await start(), await start()
    patient(one, two)
    account_id = await connected(one)
    old = (await one.access_token(account_id)).json()["access_token"]
    await one.make_refresh_due(account_id, seconds_left=left)
    calls = one.token_calls()
    one.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.3))
    answers = await asyncio.gather(*(replica.access_token(account_id) for replica in (one, two) for _ in range(25)))
    assert {answer.status_code for answer in answers} == {200}
    tokens = {answer.json()["access_token"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {old}
    assert one.token_calls() == calls + 1


async def test_a_token_that_tiktok_refused_is_replaced_and_a_stale_report_is_not_believed(accounts: Any) -> None:
    patient(accounts)
    account_id = await connected(accounts)
    old = (await accounts.access_token(account_id)).json()["access_token"]
    calls = accounts.token_calls()
    answers = await asyncio.gather(
        *(accounts.access_token(account_id, rejected_token_sha256=hash_of(old)) for _ in range(CALLERS))
    )
    tokens = {answer.json()["access_token"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {old}
    for body in ({"rejected_token_sha256": hash_of(old)}, {"force_refresh": hash_of(old).upper()}):
        assert {(await accounts.access_token(account_id, **body)).json()["access_token"]} == tokens
    assert accounts.token_calls() == calls + 1


async def test_a_refresh_is_told_nobody_but_the_new_pair_is_stored_first(accounts: Any) -> None:
    account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id)
    shown = (await accounts.access_token(account_id)).json()
    async with accounts.database.read() as connection:
        pair = await find_pair(connection, account_id)
    assert accounts.parts.vault.open(pair.access_token).get_secret_value() == shown["access_token"]
    assert pair.seconds_left > 7000, "the life TikTok gave, not a constant"
    assert not pair.refresh_due
    assert await accounts.scalar("SELECT lease_id FROM account_tokens") is None
    assert await accounts.scalar("SELECT version FROM tiktok_accounts") == 1


async def test_a_withdrawn_grant_expires_the_account_once(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await accounts.make_refresh_due(account_id)
    accounts.simulator.state.grants.revoke(accounts.simulator.state.creators.named("demo_public").open_id)
    calls = accounts.token_calls()
    answers = await asyncio.gather(*(accounts.access_token(account_id) for _ in range(20)))
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(409, "account_expired")}
    assert (await accounts.access_token(account_id)).status_code == 409
    assert accounts.token_calls() == calls + 1
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    assert shown["status"] == "expired"
    assert "TikTok" in shown["last_error"]
    expired = (await events.of("accounts.account.expired.v1"))[0]
    assert (expired.sequence, expired.actor, expired.userid) == ("0000000002", "service:accounts", person.user_id)
    assert await accounts.connect(person) == account_id
    assert (await accounts.access_token(account_id)).status_code == 200


TROUBLE = [{"status": 503}, {"drop": True}, {"lost_answer": True}, {"code": "rate_limit_exceeded"}]


@pytest.mark.parametrize("fault", TROUBLE)
async def test_while_tiktok_is_away_a_living_token_still_serves(accounts: Any, fault: dict[str, Any]) -> None:
    account_id = await connected(accounts)
    old = (await accounts.access_token(account_id)).json()["access_token"]
    await accounts.make_refresh_due(account_id)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, **fault))
    calls = accounts.token_calls()
    for _ in range(3):
        answer = await accounts.access_token(account_id)
        assert (answer.status_code, answer.json()["access_token"]) == (200, old)
    assert accounts.token_calls() == calls + 1, "asked again after a while only"


@pytest.mark.parametrize("fault", TROUBLE[:2])
async def test_while_tiktok_is_away_a_dead_token_is_not_handed_out(accounts: Any, fault: dict[str, Any]) -> None:
    account_id = await connected(accounts)
    old = (await accounts.access_token(account_id)).json()["access_token"]
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, **fault, times=2))
    rejected = await accounts.access_token(account_id, rejected_token_sha256=hash_of(old))
    await accounts.make_refresh_due(account_id, seconds_left=5)
    ended = await accounts.access_token(account_id)
    for answer in (rejected, ended):
        assert (answer.status_code, answer.json()["code"]) == (503, "tiktok_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    assert await accounts.scalar("SELECT status FROM tiktok_accounts") == "active"
    assert (await accounts.access_token(account_id)).status_code == 200


async def test_who_has_no_living_token_waits_as_long_as_tiktok_asked(accounts: Any) -> None:
    account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id, seconds_left=5)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, code="rate_limit_exceeded", status=429))
    calls = accounts.token_calls()
    for _ in range(2):
        answer = await accounts.access_token(account_id)
        assert (answer.status_code, answer.json()["code"]) == (503, "tiktok_rate_limit_exceeded")
        assert 30 < int(answer.headers["retry-after"]) <= 60
    assert accounts.token_calls() == calls + 1


async def test_a_wrong_app_secret_is_no_reason_to_expire_an_account(start: Any) -> None:
    accounts = await start()
    account_id = await connected(accounts)
    broken = await start(tiktok_client_secret="wrong")
    await accounts.make_refresh_due(account_id, seconds_left=1)
    answer = await broken.access_token(account_id)
    assert (answer.status_code, answer.json()["code"]) == (502, "tiktok_refused")
    assert "TIKTOK_CLIENT_SECRET" in answer.json()["hint"]
    assert await accounts.scalar("SELECT status FROM tiktok_accounts") == "active"
    assert (await accounts.access_token(account_id)).status_code == 200


async def test_a_slow_tiktok_does_not_hold_up_who_has_a_living_token(accounts: Any) -> None:
    accounts.parts.tokens._patience = Patience(with_fallback=0.1, without=0.2)
    account_id = await connected(accounts)
    old = (await accounts.access_token(account_id)).json()["access_token"]
    await accounts.make_refresh_due(account_id)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=600))
    assert (await accounts.access_token(account_id)).json()["access_token"] == old
    pending = await accounts.access_token(account_id, rejected_token_sha256=hash_of(old))
    assert (pending.status_code, pending.json()["code"]) == (503, "tiktok_unavailable")
    assert await accounts.scalar("SELECT count(*) FROM account_tokens WHERE lease_id IS NOT NULL") == 1, (
        "TikTok is still silent"
    )
    accounts.simulator.state.faults.clear()

    async def replaced() -> bool:
        return bool((await accounts.access_token(account_id)).json()["access_token"] != old)

    await eventually(replaced)


async def test_an_abandoned_request_does_not_abandon_the_refresh(accounts: Any) -> None:
    account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id, seconds_left=1)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.3))
    calls = accounts.token_calls()
    request = asyncio.create_task(accounts.access_token(account_id))
    await eventually(lambda: accounts.parts.tokens._refresher._under_way)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await eventually(lambda: not accounts.parts.tokens._refresher._under_way)
    assert (await accounts.access_token(account_id)).status_code == 200
    assert accounts.token_calls() == calls + 1


async def test_stopping_waits_until_the_new_pair_is_stored(start: Any, accounts: Any) -> None:
    account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id, seconds_left=1)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.3))
    request = asyncio.create_task(accounts.access_token(account_id))
    refresher = accounts.parts.tokens._refresher
    await eventually(lambda: refresher._under_way)
    await refresher.stop()
    assert await accounts.scalar("SELECT refresh_due_at > now() FROM account_tokens")
    assert (await request).status_code == 200


async def test_the_lease_of_a_dead_replica_ends(accounts: Any) -> None:
    account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id, seconds_left=1)
    async with accounts.database.transaction() as tx:
        pair = await find_pair(tx.connection, account_id)
        assert await take_lease(tx.connection, account_id, pair_id=pair.pair_id, lease_id=uuid4(), life=LEASE)
    calls = accounts.token_calls()
    request = asyncio.create_task(accounts.access_token(account_id))
    await eventually(lambda: accounts.parts.tokens._refresher._under_way)
    assert accounts.token_calls() == calls
    await accounts.execute("UPDATE account_tokens SET lease_until = now()")
    assert (await request).status_code == 200
    assert accounts.token_calls() == calls + 1


async def test_a_replica_that_was_paused_beyond_its_lease_still_saves_the_grant(start: Any, events: Any) -> None:
    """One asks, TikTok rotates, its answer is slow; the other asks with the dead token, is refused, and expires the account.

    The late answer proves that the grant lives: the account is active again, with the pair that works.
    """
    slow, quick = await start(), await start()
    account_id = await connected(slow)
    await slow.make_refresh_due(account_id, seconds_left=1)
    slow.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=5.0, delay_at="answer"))
    first = asyncio.create_task(slow.access_token(account_id))
    refresh_sealed = await slow.scalar("SELECT refresh_token_sealed FROM account_tokens")
    refresh_token = slow.parts.vault.open(refresh_sealed).get_secret_value()

    def rotated() -> bool:
        return bool(slow.simulator.state.grants._refresh.get(refresh_token).rotated_at)

    await eventually(rotated)
    await slow.execute("UPDATE account_tokens SET lease_until = now()")
    refused = await quick.access_token(account_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "account_expired")
    slow.simulator.state.faults.clear()
    assert (await first).status_code == 200
    healed = await quick.access_token(account_id)
    assert healed.status_code == 200
    assert slow.simulator.state.grants.access(healed.json()["access_token"]) is not None
    await events.of("accounts.account.expired.v1")
    updated = (await events.of("accounts.account.updated.v1"))[0]
    assert (updated.data["status"], updated.sequence) == ("active", "0000000003")


async def test_reconnecting_during_a_refresh_keeps_the_new_grant(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await accounts.make_refresh_due(account_id, seconds_left=1)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.5, delay_at="answer"))
    request = asyncio.create_task(accounts.access_token(account_id))
    await eventually(lambda: not accounts.simulator.state.faults.items())
    await accounts.connect(person)
    newest = await accounts.scalar("SELECT pair_id FROM account_tokens")
    answer = await request
    assert answer.status_code == 200
    assert await accounts.scalar("SELECT pair_id FROM account_tokens") == newest


async def test_a_refusal_of_a_pair_that_was_replaced_meanwhile_expires_nothing(accounts: Any) -> None:
    patient(accounts)
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await accounts.make_refresh_due(account_id, seconds_left=1)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=30, delay_at="request", code="invalid_grant"))
    request = asyncio.create_task(accounts.access_token(account_id))
    await eventually(lambda: not accounts.simulator.state.faults.items())
    await accounts.connect(person)
    accounts.simulator.state.faults.clear()
    answer = await request
    assert answer.status_code == 200
    assert accounts.simulator.state.grants.access(answer.json()["access_token"]) is not None
    assert await accounts.scalar("SELECT status FROM tiktok_accounts") == "active"


async def test_a_database_that_is_cut_and_then_busy_after_tiktoks_answer_loses_no_grant(accounts: Any) -> None:
    account_id = await connected(accounts)
    await accounts.make_refresh_due(account_id, seconds_left=1)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.3, delay_at="answer"))
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with accounts.busy_once("UPDATE OF pair_id ON account_tokens", LOCK_NOT_AVAILABLE):
        request = asyncio.create_task(accounts.access_token(account_id))
        await eventually(lambda: not accounts.simulator.state.faults.items())
        assert await accounts.scalar(cut)
        await request
    assert await accounts.scalar("SELECT refresh_due_at > now() FROM account_tokens")
    assert (await accounts.access_token(account_id)).status_code == 200


async def test_who_waits_for_the_account_holds_nothing_of_its_pair(accounts: Any) -> None:
    """Connecting locks the account and then the pair: whoever did it the other way round would wait for it, and it for them."""
    account_id = await connected(accounts)
    pair_id = await accounts.scalar("SELECT pair_id FROM account_tokens")

    async def other() -> bool:
        async with accounts.database.transaction() as tx:
            return await lock_pair(tx.connection, account_id, pair_id)

    async with accounts.database.transaction() as tx:
        await tx.connection.exec_driver_sql("SELECT 1 FROM tiktok_accounts FOR UPDATE")
        waiting = asyncio.create_task(other())
        await eventually(lambda: accounts.scalar(WAITING))
        await tx.connection.exec_driver_sql("SELECT 1 FROM account_tokens FOR UPDATE NOWAIT")
    assert await waiting


async def test_another_creators_answer_is_never_stored(accounts: Any, start: Any) -> None:
    account_id = await connected(accounts)
    grant = {
        "access_token": "act.other",
        "refresh_token": "rft.other",
        "expires_in": 7200,
        "refresh_expires_in": 7200,
        "open_id": "someone-else",
        "scope": "user.info.basic,video.publish",
    }
    liar = await start(tiktok_transport=httpx.MockTransport(lambda _: httpx.Response(200, json=grant)))
    await liar.make_refresh_due(account_id, seconds_left=1)
    assert (await liar.access_token(account_id)).json()["code"] == "account_expired"
    assert await liar.scalar("SELECT last_error FROM tiktok_accounts") is not None


async def test_scopes_that_shrank_are_told(accounts: Any, start: Any, events: Any) -> None:
    account_id = await connected(accounts)
    grant = {
        "access_token": "act.narrow",
        "refresh_token": "rft.narrow",
        "expires_in": 7200,
        "refresh_expires_in": 7200,
        "open_id": accounts.simulator.state.creators.named("demo_public").open_id,
        "scope": "user.info.basic",
    }
    narrow = await start(tiktok_transport=httpx.MockTransport(lambda _: httpx.Response(200, json=grant)))
    await narrow.make_refresh_due(account_id, seconds_left=1)
    assert (await narrow.access_token(account_id)).json()["scopes"] == ["user.info.basic"]
    assert (await events.of("accounts.account.updated.v1"))[0].data["scopes"] == ["user.info.basic"]
    told = await accounts.scalar("SELECT last_error FROM tiktok_accounts")
    assert "video.publish" in told
    assert "user.info.basic" not in told
    grant["scope"] = "user.info.basic,video.publish"
    await narrow.make_refresh_due(account_id, seconds_left=1)
    assert (await narrow.access_token(account_id)).status_code == 200
    assert await accounts.scalar("SELECT last_error FROM tiktok_accounts") is None, "they were given back"
