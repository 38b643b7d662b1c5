"""Ending the grants of disconnected accounts: when, how often, and what is in the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from structlog.testing import capture_logs

from accounts.clients.publish_jobs import PublishJobs
from accounts.grant_revoker import GrantRevoker, Outcome
from accounts.loops.revoke_grants import GIVE_UP_AFTER, LEASE, RevokeGrants, RevokeRules
from accounts.storage.grant_revocations import claim_due
from common.auth.service_tokens import ServiceTokenSigner
from common.contracts.accounts import DisconnectAccount
from common.http.client import ServiceClient, internal_client
from common.http.json_response import json_response
from common.testing.eventually import eventually
from common.testing.http_server import serving
from tiktok._http import flat_answer_of
from tiktok_simulator.faults import Fault

pytestmark = pytest.mark.integration
REVOKE = "/v2/oauth/revoke/"


@dataclass
class Publisher:
    """The publisher's word on open jobs."""

    open: set[UUID] = field(default_factory=set)
    answer: Any = None
    asked: int = 0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/internal/accounts/{account_id}/open-jobs")
        async def open_jobs(account_id: UUID, request: Request) -> Response:
            self.asked += 1
            assert request.headers["authorization"].startswith("Bearer ")
            body = {"open_jobs": int(account_id in self.open)} if self.answer is None else self.answer
            return json_response(body, status=body.pop("status", 200))

        return app


@pytest.fixture
async def publisher() -> AsyncIterator[Any]:
    made = Publisher()
    async with serving(made.app()) as url:
        made.url = url  # type: ignore[attr-defined]
        yield made


@dataclass
class World:
    """A service whose own loop does not run, and a loop that looks when it is told to."""

    accounts: Any
    send: Any
    publisher: Any
    new_loop: Callable[..., RevokeGrants]

    async def gone(self, person: Any, creator: str = "demo_public") -> UUID:
        account_id: UUID = await self.accounts.connect(person, creator)
        await self.disconnect(person, account_id)
        return account_id

    async def disconnect(self, person: Any, account_id: UUID) -> None:
        assert (await self.send(DisconnectAccount(account_id=account_id), person)).status == 204

    async def look(self, **rules: Any) -> None:
        await self.accounts.execute("UPDATE grant_revocations SET due_at = now() WHERE finished_at IS NULL")
        await self.new_loop(**rules)._look()

    async def row(self, column: str) -> Any:
        return await self.accounts.scalar(f"SELECT {column} FROM grant_revocations")

    async def pairs(self) -> int:
        return int(await self.accounts.scalar("SELECT count(*) FROM account_tokens"))

    def calls(self) -> int:
        return sum(self.accounts.simulator.state.stats.as_json()["requests"].get(REVOKE, {}).values())

    def connected(self) -> bool:
        state = self.accounts.simulator.state
        return state.grants.connected(state.creators.named("demo_public").open_id)

    def fault(self, **values: Any) -> None:
        self.accounts.simulator.state.faults.add(Fault(endpoint=REVOKE, **values))


@pytest.fixture
async def world(
    start: Any, send: Any, publisher: Any, service_keys: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async def never(_: RevokeGrants) -> None:
        """Leave the rows to the loop of the test."""

    monkeypatch.setattr(RevokeGrants, "start", never)
    accounts = await start(publisher_url=publisher.url, disconnect_check_seconds=600)
    client = internal_client()
    signer = ServiceTokenSigner("accounts", service_keys.private_text("accounts"))
    jobs = PublishJobs(ServiceClient(client, publisher.url, audience="publisher", signer=signer))
    parts = accounts.parts
    revoker = GrantRevoker(parts.database, parts.vault, parts.oauth, parts.tokens._refresher)

    def new_loop(**rules: Any) -> RevokeGrants:
        return RevokeGrants(parts.database, jobs, revoker, RevokeRules(timedelta(seconds=600), **rules))

    yield World(accounts, send, publisher, new_loop)
    await client.aclose()


async def token(accounts: Any, account_id: UUID, service: str = "publisher", **body: Any) -> tuple[int, str | None]:
    path = f"/internal/accounts/{account_id}/access-token"
    answer = await accounts.http.post(path, json=body, headers=accounts.as_service(service))
    return answer.status_code, answer.json().get("code")


async def test_the_grant_lives_for_jobs_under_way_and_ends_with_them(start: Any, send: Any, publisher: Any) -> None:
    accounts = await start(publisher_url=publisher.url, disconnect_check_seconds=0.05)
    person = await accounts.register()
    account_id = await accounts.connect(person)
    publisher.open.add(account_id)
    open_id = (await accounts.access_token(account_id)).json()["open_id"]
    assert (await send(DisconnectAccount(account_id=account_id), person)).status == 204
    await eventually(lambda: publisher.asked >= 3)
    assert await token(accounts, account_id) == (404, "account_not_found"), "nothing new begins"
    assert await token(accounts, account_id, "analytics", under_way=True) == (404, "account_not_found")
    assert await token(accounts, account_id, under_way=True) == (200, None)
    await accounts.make_refresh_due(account_id, seconds_left=10)
    assert await token(accounts, account_id, under_way=True) == (200, None), "it is even refreshed"
    assert accounts.simulator.state.grants.connected(open_id)
    publisher.open.clear()
    await eventually(lambda: not accounts.simulator.state.grants.connected(open_id))

    async def finished() -> bool:
        return bool(await accounts.scalar("SELECT outcome = 'revoked' FROM grant_revocations"))

    await eventually(finished)
    assert await accounts.scalar("SELECT count(*) FROM account_tokens") == 0
    assert await token(accounts, account_id, under_way=True) == (404, "account_not_found")


@pytest.mark.parametrize(
    "answer", [None, {"status": 500}, {"status": 404}, {"open_jobs": "none"}, {"open_jobs": -1}, {"jobs": 0}]
)
async def test_without_the_publishers_word_the_grant_ends_when_patience_does(world: World, answer: Any) -> None:
    account_id = await world.gone(await world.accounts.register())
    world.publisher.open.add(account_id)
    world.publisher.answer = answer and dict(answer)
    await world.look()
    assert (world.calls(), await world.pairs(), await world.row("attempts")) == (0, 1, 0)
    await world.accounts.execute("UPDATE grant_revocations SET deadline_at = now() - interval '1 second'")
    await world.look()
    assert (world.calls(), world.connected(), await world.pairs()) == (1, False, 0)
    assert await world.row("outcome") == "revoked"


async def test_it_is_looked_at_the_deadline_however_far_the_next_look_is(world: World) -> None:
    account_id = await world.gone(await world.accounts.register())
    world.publisher.open.add(account_id)
    await world.accounts.execute("UPDATE grant_revocations SET deadline_at = now() + interval '20 seconds'")
    await world.look()
    assert await world.row("due_at = deadline_at")


async def test_a_grant_that_is_gone_already_is_fine(world: World) -> None:
    await world.gone(await world.accounts.register())
    state = world.accounts.simulator.state
    state.grants.revoke(state.creators.named("demo_public").open_id)
    await world.look()
    assert (await world.row("outcome"), await world.pairs()) == ("already_gone", 0)


async def test_an_expired_account_is_disconnected_like_any_other(world: World) -> None:
    person = await world.accounts.register()
    account_id = await world.accounts.connect(person)
    await world.accounts.execute("UPDATE tiktok_accounts SET status = 'expired'")
    await world.disconnect(person, account_id)
    tokens_asked = world.accounts.token_calls()
    await world.look()
    assert (await world.row("outcome"), world.connected()) == ("revoked", False)
    assert world.accounts.token_calls() == tokens_asked


async def test_a_lapsed_token_is_renewed_to_revoke_with(world: World) -> None:
    account_id = await world.gone(await world.accounts.register())
    await world.accounts.make_refresh_due(account_id, seconds_left=5)
    asked = world.accounts.token_calls()
    await world.look()
    assert (await world.row("outcome"), world.connected(), world.calls()) == ("revoked", False, 1)
    assert world.accounts.token_calls() == asked + 1


async def test_a_lapsed_token_of_an_expired_account_is_renewed_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What made it expire may have been a right that was missing; while another replica renews it, it is not known to be gone."""
    account_id = await world.gone(await world.accounts.register())
    await world.accounts.execute("UPDATE tiktok_accounts SET status = 'expired'")
    await world.accounts.make_refresh_due(account_id, seconds_left=-10)
    lease = "UPDATE account_tokens SET lease_id = gen_random_uuid(), lease_until = now() + interval '{}'"
    await world.accounts.execute(lease.format("1 hour"))
    with monkeypatch.context() as patch:
        patch.setattr("accounts.grant_revoker.REFRESH_SECONDS", 0.2)
        await world.look()
    assert (await world.row("outcome"), await world.row("last_error"), await world.pairs()) == (None, "refresh_pending", 1)
    await world.accounts.execute(lease.format("0 s"))
    await world.look()
    assert (await world.row("outcome"), world.connected(), world.calls()) == ("revoked", False, 1)
    assert await world.accounts.scalar("SELECT status FROM tiktok_accounts") == "expired"


async def test_a_refused_token_alone_does_not_prove_that_the_grant_is_gone(world: World) -> None:
    await world.gone(await world.accounts.register())
    state = world.accounts.simulator.state
    for access in list(state.grants._access):
        state.grants._access.delete(access.token)
    await world.look()
    assert (await world.row("outcome"), world.connected(), world.calls()) == ("revoked", False, 2)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 500}, "server_error"),
        ({"drop": True}, None),
        ({"lost_answer": True}, None),
        ({"status": 429, "code": "rate_limit_exceeded"}, "rate_limit_exceeded"),
        ({"status": 200, "code": "invalid_client"}, "invalid_client"),
    ],
)
async def test_a_call_that_failed_is_repeated_after_a_while(world: World, fault: dict[str, Any], error: str | None) -> None:
    await world.gone(await world.accounts.register())
    world.fault(**fault)
    await world.look()
    assert await world.row("finished_at") is None
    assert await world.pairs() == 1
    assert await world.row("last_error") == error or error is None
    assert await world.row("due_at > now() + interval '7 seconds'")
    assert await world.row("calling_until") is None
    await world.look()
    assert (await world.row("outcome IS NOT NULL"), await world.pairs(), world.connected()) == (True, 0, False)
    assert await world.row("attempts") == 2


@pytest.mark.parametrize("status", [403, 404, 407, 451])
async def test_a_page_of_something_in_between_is_no_refusal_of_the_token(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    await world.gone(await world.accounts.register())
    page = httpx.Response(status, content=b"<html>Blocked</html>", request=httpx.Request("POST", "https://tiktok.example"))

    async def blocked(*_: Any) -> None:
        flat_answer_of(page)

    with monkeypatch.context() as patch:
        patch.setattr("tiktok.oauth.OAuthClient.revoke", blocked)
        await world.look()
    assert (await world.row("finished_at"), await world.row("last_error")) == (None, f"http_{status}")
    await world.look()
    assert (await world.row("outcome"), world.connected()) == ("revoked", False)


async def test_waits_grow_and_end(world: World) -> None:
    loop = world.new_loop()
    waits = [loop._backoff(attempts) for attempts in range(40)]
    assert all(7.5 * 2**attempt <= wait <= 15 * 2**attempt for attempt, wait in enumerate(waits[:7]))
    assert max(waits) <= 3600


async def test_a_refusing_tiktok_is_given_up_after_a_day_and_the_tokens_do_not_stay(world: World) -> None:
    await world.gone(await world.accounts.register())
    world.fault(status=500, times=10)
    for hours, outcome in ((23, None), (25, "given_up")):
        await world.accounts.execute(f"UPDATE grant_revocations SET deadline_at = now() - interval '{hours} hours'")
        with capture_logs() as logs:
            await world.look()
        assert await world.row("outcome") == outcome
        told = [entry for entry in logs if entry["event"] == "grant_not_revoked"]
        assert [entry["log_level"] for entry in told] == (["error"] if outcome else [])
    assert (await world.pairs(), world.connected()) == (0, True)


async def test_replicas_revoke_each_grant_once(world: World) -> None:
    creators = ("demo_public", "demo_private", "demo_capped")
    for creator in creators:
        await world.gone(await world.accounts.register(), creator)
    await world.accounts.execute("UPDATE grant_revocations SET due_at = now()")
    world.fault(delay=0.2, times=10)
    await asyncio.gather(*(world.new_loop()._look() for _ in range(4)))
    assert world.calls() == 3
    assert await world.accounts.scalar("SELECT count(*) FROM grant_revocations WHERE outcome = 'revoked'") == 3


async def test_a_replica_that_died_at_the_call_is_taken_over_from(world: World) -> None:
    await world.gone(await world.accounts.register())
    await world.accounts.execute("UPDATE grant_revocations SET due_at = now()")
    world.fault(delay=60, delay_at="answer")
    dying = asyncio.create_task(world.new_loop()._look())
    await eventually(lambda: not world.connected())
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    world.accounts.simulator.state.faults.clear()
    await eventually(lambda: world.calls() == 1)
    assert await world.row("calling_until > now()")
    assert await world.row("due_at > now() + interval '60 seconds'"), "nobody takes it before the lease ends"
    await world.look()
    assert (await world.row("outcome"), await world.pairs()) == ("already_gone", 0)


async def test_what_a_lost_claim_brings_is_not_stored(world: World) -> None:
    person = await world.accounts.register()
    account_id = await world.gone(person)
    await world.accounts.execute("UPDATE grant_revocations SET due_at = now()")
    async with world.accounts.database.transaction() as tx:
        (stale,) = await claim_due(tx.connection, uuid4(), lease=LEASE, limit=5, give_up_after=GIVE_UP_AFTER)
    assert await world.accounts.connect(person) == account_id
    await world.new_loop()._settle(stale)
    assert (world.calls(), world.connected(), await world.pairs()) == (0, True, 1)
    assert (await world.accounts.access_token(account_id)).status_code == 200


@pytest.mark.parametrize("reconnected", [False, True])
async def test_a_replica_that_slept_through_its_lease_calls_nobody(world: World, reconnected: bool) -> None:
    person = await world.accounts.register()
    account_id = await world.gone(person)

    async def claim() -> Any:
        await world.accounts.execute("UPDATE grant_revocations SET due_at = now()")
        async with world.accounts.database.transaction() as tx:
            return (await claim_due(tx.connection, uuid4(), lease=LEASE, limit=5, give_up_after=GIVE_UP_AFTER))[0]

    stale = await claim()
    if reconnected:
        await world.accounts.connect(person)
        await world.disconnect(person, account_id)
    current = await claim()
    await world.new_loop()._settle(stale)
    assert (world.calls(), await world.row("attempts"), await world.pairs()) == (0, 0, 1)
    await world.new_loop()._failed(stale, "late", None)
    await world.new_loop()._end(stale, Outcome.ALREADY_GONE)
    assert (await world.row("last_error"), await world.row("outcome"), await world.pairs()) == (None, None, 1)
    await world.new_loop()._settle(current)
    assert (world.calls(), await world.row("outcome"), await world.pairs()) == (1, "revoked", 0)


async def test_connecting_again_keeps_the_new_grant(world: World) -> None:
    person = await world.accounts.register()
    account_id = await world.gone(person)
    assert await world.accounts.connect(person) == account_id
    await world.look()
    assert (world.calls(), world.connected()) == (0, True)
    assert await world.accounts.scalar("SELECT count(*) FROM grant_revocations") == 0
    await world.disconnect(person, account_id)
    await world.look()
    assert (world.calls(), world.connected()) == (1, False)
    await settled(world)
    assert await world.accounts.connect(person) == account_id


async def settled(world: World) -> None:
    """Let the moment pass in which a grant from before the revocation might come in."""
    await world.accounts.execute("UPDATE grant_revocations SET finished_at = finished_at - interval '10 seconds'")


async def test_a_grant_that_the_revocation_may_hit_is_not_taken(world: World) -> None:
    person = await world.accounts.register()
    account_id = await world.gone(person)
    consent = await world.accounts.consent(person)
    await world.accounts.execute("UPDATE grant_revocations SET due_at = now()")
    world.fault(delay=0.5, delay_at="request")
    looking = asyncio.create_task(world.new_loop()._look())
    await eventually(lambda: not world.accounts.simulator.state.faults.items())
    during = await world.accounts.callback(**consent)
    assert (during.status_code, during.json()["code"]) == (409, "account_disconnecting")
    assert int(during.headers["retry-after"]) > 0
    await looking
    assert (await world.row("outcome"), world.connected()) == ("revoked", False)
    just_after = await world.accounts.callback(**await world.accounts.consent(person))
    assert just_after.json()["code"] == "account_disconnecting"
    await settled(world)
    assert await world.accounts.connect(person) == account_id
    assert world.connected()


async def test_another_user_who_connects_the_creator_keeps_the_grant_too(world: World) -> None:
    person, other = await world.accounts.register(), await world.accounts.register()
    account_id = await world.gone(person)
    taken = await world.accounts.connect(other)
    assert taken != account_id
    assert await world.pairs() == 1, "the first user's tokens are deleted"
    await world.look()
    assert (world.calls(), world.connected()) == (0, True)
    assert await token(world.accounts, account_id, under_way=True) == (404, "account_not_found")
    assert await token(world.accounts, taken) == (200, None)


async def test_a_row_that_cannot_be_read_ends_nobody_elses(world: World) -> None:
    broken = await world.gone(await world.accounts.register())
    await world.gone(await world.accounts.register(), "demo_private")
    await world.accounts.execute(f"UPDATE account_tokens SET access_token_sealed = 'x' WHERE account_id = '{broken}'")
    await world.look()
    outcomes = "SELECT string_agg(coalesce(outcome, last_error), ',' ORDER BY outcome) FROM grant_revocations"
    assert await world.accounts.scalar(outcomes) == "revoked,internal_error"


async def test_an_account_without_tokens_has_nothing_to_revoke(world: World) -> None:
    account_id = await world.gone(await world.accounts.register())
    await world.accounts.execute(f"DELETE FROM account_tokens WHERE account_id = '{account_id}'")
    await world.look()
    assert (await world.row("outcome"), world.calls()) == ("already_gone", 0)


async def test_ended_rows_are_removed_after_a_week(world: World) -> None:
    from accounts.loops.retention import Retention

    await world.gone(await world.accounts.register())
    await world.look()
    await Retention(world.accounts.database)._remove()
    assert await world.row("count(*)") == 1
    await world.accounts.execute("UPDATE grant_revocations SET finished_at = now() - interval '8 days'")
    await Retention(world.accounts.database)._remove()
    assert await world.row("count(*)") == 0
