"""Token pairs are refreshed ahead of time by the service itself."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.app import wire
from accounts.loops.token_refresh import TokenRefreshLoop
from accounts.storage.due_refreshes import DueRefresh, claim_due_refreshes, late_refreshes, seconds_to_next_refresh
from accounts.token_refresher import ANSWER_LOST, LAPSED
from common.database import Database
from common.testing.eventually import eventually
from common.testing.plans import plans_of
from tiktok_simulator.faults import Fault
from tiktok_simulator.personas import CreatorInput, Persona

pytestmark = pytest.mark.integration
TOKEN = "/v2/oauth/token/"
SOONER_THAN_A_LOOK = 20.0
"""Seconds; the loop looks by itself every 30 s, and what is tested here must not wait for that."""


class SpoiledRefreshes(httpx.AsyncBaseTransport):
    """TikTok behind a proxy: refreshes have their effect, and what comes back is made of TikTok's answer."""

    def __init__(self, spoil: Callable[[dict[str, Any]], httpx.Response]) -> None:
        self._tiktok = httpx.AsyncHTTPTransport()
        self._spoil = spoil
        self.spoils = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._tiktok.handle_async_request(request)
        if not self.spoils or request.url.path != TOKEN or b"grant_type=refresh_token" not in await request.aread():
            return answer
        return self._spoil(json.loads(await answer.aread()))

    async def aclose(self) -> None:
        await self._tiktok.aclose()


DUE = "UPDATE account_tokens SET next_refresh_at = now()"


async def pair_of(accounts: Any) -> tuple[Any, ...]:
    async with accounts.database.read() as connection:
        statement = (
            "SELECT pair_id, refresh_failures, interrupted_at IS NOT NULL, lease_id,"
            " extract(epoch FROM next_refresh_at - now())::float FROM account_tokens"
        )
        return tuple((await connection.exec_driver_sql(statement)).one())


async def until_refreshed(accounts: Any, old: UUID) -> None:
    async def another() -> bool:
        return (await pair_of(accounts))[0] != old

    await eventually(another, timeout=SOONER_THAN_A_LOOK)


async def connected(accounts: Any) -> UUID:
    await accounts.connect(await accounts.register())
    return (await pair_of(accounts))[0]


async def test_a_pair_is_refreshed_when_it_is_due_and_not_before(accounts: Any) -> None:
    old = await connected(accounts)
    calls = accounts.token_calls()
    planned = (await pair_of(accounts))[4]
    assert 7200 - 600 - 720 - 5 < planned <= 7200 - 600, "by the two hours TikTok gave, ahead and spread"
    accounts.parts.refresh_planned()
    await accounts.execute("UPDATE account_tokens SET next_refresh_at = now() + interval '0.4 seconds'")
    accounts.parts.refresh_planned()
    assert accounts.token_calls() == calls
    await until_refreshed(accounts, old)
    assert accounts.token_calls() == calls + 1
    assert (await pair_of(accounts))[4] > 5000


async def test_a_grant_that_lives_seconds_is_renewed_again_and_again(accounts: Any) -> None:
    """Nothing but the commit wakes the loop: it slept for half a minute."""
    settings = accounts.simulator.state.grants._settings
    accounts.simulator.state.grants._settings = settings.model_copy(update={"access_token_seconds": 2})
    try:
        old = await connected(accounts)
        for _ in range(2):
            await until_refreshed(accounts, old)
            old = (await pair_of(accounts))[0]
    finally:
        accounts.simulator.state.grants._settings = settings
    assert await accounts.scalar("SELECT status FROM tiktok_accounts") == "active"


@pytest.mark.parametrize(
    ("change", "refreshed"),
    [("status = 'inactive'", True), ("status = 'expired'", False), ("disconnected_at = now()", False)],
)
async def test_paused_accounts_are_refreshed_expired_and_disconnected_ones_not(
    accounts: Any, change: str, refreshed: bool
) -> None:
    old = await connected(accounts)
    await accounts.execute(f"UPDATE tiktok_accounts SET {change}")
    calls = accounts.token_calls()
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()

    async def settled() -> bool:
        pair, *_, planned = await pair_of(accounts)
        return pair != old if refreshed else planned is None

    await eventually(settled)
    assert accounts.token_calls() == calls + refreshed


async def test_a_passing_failure_is_tried_again_while_the_old_token_is_handed_out(accounts: Any) -> None:
    account_id = await accounts.connect(await accounts.register())
    old = (await pair_of(accounts))[0]
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, status=503, times=2))
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()

    async def failed(times: int) -> bool:
        pair, failures, _, lease, planned = await pair_of(accounts)
        return (pair, failures, lease) == (old, times, None) and 0 < planned <= 5.0 * times

    await eventually(lambda: failed(1))
    assert (await accounts.access_token(account_id)).status_code == 200
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()
    await eventually(lambda: failed(2))
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()
    await until_refreshed(accounts, old)
    assert (await pair_of(accounts))[1] == 0


async def test_many_at_once_run_side_by_side_but_never_more_than_allowed(start: Any, simulator: Any) -> None:
    accounts = await start(token_refresh_concurrency=3)
    person = await accounts.register()
    for number in range(7):
        simulator.state.creators.upsert(CreatorInput(username=f"c{number}", persona=Persona.PUBLIC))
        await accounts.connect(person, f"c{number}")
    most = 0
    refresher = accounts.parts.tokens._refresher
    original = refresher._run

    async def watched(*args: Any) -> None:
        nonlocal most
        most = max(most, len(refresher._under_way))
        await original(*args)

    refresher._run = watched
    simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.1, times=7))
    calls = accounts.token_calls()
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()

    async def all_refreshed() -> bool:
        async with accounts.database.read() as connection:
            return (await seconds_to_next_refresh(connection) or 0) > 5000

    await eventually(all_refreshed)
    assert (most, accounts.token_calls()) == (3, calls + 7)


async def test_a_pair_that_was_replaced_after_the_claim_is_not_refreshed_again(accounts: Any) -> None:
    account_id = await accounts.connect(await accounts.register())
    claimed = (await pair_of(accounts))[0]
    await accounts.make_refresh_due(account_id)
    assert (await accounts.access_token(account_id)).status_code == 200
    calls, (now, *_) = accounts.token_calls(), await pair_of(accounts)
    loop = TokenRefreshLoop(accounts.database, accounts.parts.tokens._refresher, concurrency=1)
    await loop._refresh(DueRefresh(account_id, claimed))
    assert accounts.token_calls() == calls
    await loop._refresh(DueRefresh(account_id, now))
    assert accounts.token_calls() == calls + 1


async def test_two_claims_never_take_the_same_pair(
    settings: Any, service_keys: Any, simulator: Any, running_service: Any
) -> None:
    async with running_service(wire(settings), service_keys, simulator) as gone:
        await connected(gone)
    database = Database(settings.database_url, application_name="test", pool_size=2)
    hold = timedelta(seconds=60)
    async with database.transaction() as tx:
        await tx.connection.exec_driver_sql(DUE)
    async with database.transaction() as one, database.transaction() as two:
        first = await claim_due_refreshes(one.connection, limit=5, hold=hold)
        second = await claim_due_refreshes(two.connection, limit=5, hold=hold)
    await database.stop()
    assert (len(first), second) == (1, [])


async def test_a_grant_that_cannot_be_renewed_expires_when_its_time_is_up(accounts: Any, events: Any) -> None:
    """TikTok stays away until neither token has any life left: the account is expired, with the reason."""
    await connected(accounts)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, status=503))
    await accounts.execute("UPDATE account_tokens SET expires_at = now(), refresh_expires_at = now(), next_refresh_at = now()")
    accounts.parts.refresh_planned()
    expired = (await events.of("accounts.account.expired.v1"))[0]
    assert expired.data["reason"] == LAPSED
    assert await accounts.scalar("SELECT last_error FROM tiktok_accounts") == LAPSED
    assert (await pair_of(accounts))[4] is None


async def test_a_lost_answer_is_known_and_told_as_such(accounts: Any, events: Any) -> None:
    """TikTok rotated and its answer never came: the old refresh token is dead, and only the creator can help."""
    old = await connected(accounts)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, lost_answer=True))
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()

    async def failed() -> bool:
        pair, failures, interrupted, *_ = await pair_of(accounts)
        return (pair, failures, interrupted) == (old, 1, True)

    await eventually(failed)
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()
    assert (await events.of("accounts.account.expired.v1"))[0].data["reason"] == ANSWER_LOST


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: httpx.Response(502, content=b"<html>Bad gateway"),
        lambda _: httpx.Response(200, content=b"<html>Welcome"),
        lambda answer: httpx.Response(200, json={k: v for k, v in answer.items() if k != "refresh_token"}),
    ],
    ids=["proxy", "page", "lacking"],
)
async def test_an_answer_that_cannot_be_used_is_a_lost_one(start: Any, events: Any, spoil: Any) -> None:
    transport = SpoiledRefreshes(spoil)
    accounts = await start(tiktok_transport=transport)
    old = await connected(accounts)
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()

    async def failed() -> bool:
        pair, failures, *_ = await pair_of(accounts)
        return (pair, failures) == (old, 1)

    await eventually(failed)
    assert (await pair_of(accounts))[2], "it may have had its effect"
    transport.spoils = False
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()
    assert (await events.of("accounts.account.expired.v1"))[0].data["reason"] == ANSWER_LOST


@pytest.mark.parametrize("absent", [None, ""])
async def test_a_pair_is_stored_though_what_is_known_is_left_out(start: Any, absent: str | None) -> None:
    """The pair is the only one that is good from now on; the creator, and how long it lives, are known from the one before."""
    left_out = {} if absent is None else {"open_id": absent, "refresh_expires_in": absent}

    def spoil(answer: dict[str, Any]) -> httpx.Response:
        kept = {k: v for k, v in answer.items() if k not in {"open_id", "refresh_expires_in"}}
        return httpx.Response(200, json=kept | left_out)

    accounts = await start(tiktok_transport=SpoiledRefreshes(spoil))
    old = await connected(accounts)
    end = "SELECT refresh_expires_at FROM account_tokens"
    before = await accounts.scalar(end)
    await accounts.execute(DUE)
    accounts.parts.refresh_planned()
    await until_refreshed(accounts, old)
    assert abs(await accounts.scalar(end) - before) <= timedelta(seconds=1), "as long as was known"
    assert await accounts.scalar("SELECT status FROM tiktok_accounts") == "active"


async def test_a_pair_that_cannot_be_read_holds_up_no_other(accounts: Any) -> None:
    person = await accounts.register()
    broken, well = [await accounts.connect(person, name) for name in ("demo_private", "demo_public")]
    await accounts.execute(f"UPDATE account_tokens SET refresh_token_sealed = 'x' WHERE account_id = '{broken}'")
    old = await accounts.scalar(f"SELECT pair_id FROM account_tokens WHERE account_id = '{well}'")
    await accounts.execute(f"{DUE} - (account_id = '{broken}')::int * interval '1 second'")
    accounts.parts.refresh_planned()

    async def refreshed() -> bool:
        return bool(await accounts.scalar(f"SELECT pair_id <> '{old}' FROM account_tokens WHERE account_id = '{well}'"))

    await eventually(refreshed)
    left = f"SELECT lease_id IS NULL AND next_refresh_at > now() FROM account_tokens WHERE account_id = '{broken}'"
    assert await accounts.scalar(left), "claimed for a minute, and no lease was taken: TikTok was not asked"
    assert (await accounts.http.get("/readyz")).status_code == 200


async def test_what_is_due_late_or_next_is_found_by_its_index(accounts: Any) -> None:
    await connected(accounts)
    copies = "gen_random_uuid(), pair_id, 'a', 'r', obtained_at, refresh_due_at, expires_at, refresh_expires_at"
    async with accounts.database.transaction() as tx:
        # Pairs of no account, which nobody takes up.
        await tx.connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        await tx.connection.exec_driver_sql(
            "INSERT INTO account_tokens (account_id, pair_id, access_token_sealed, refresh_token_sealed, obtained_at,"
            " refresh_due_at, expires_at, refresh_expires_at, next_refresh_at)"
            f" SELECT {copies}, now() + interval '1 day' + n * interval '1 second'"
            " FROM account_tokens, generate_series(1, 3000) AS n"
        )
    await accounts.execute("ANALYZE account_tokens")

    async def ask(connection: AsyncConnection) -> None:
        await claim_due_refreshes(connection, limit=8, hold=timedelta(minutes=1))
        await seconds_to_next_refresh(connection)
        await late_refreshes(connection)

    try:
        plans = await plans_of(accounts.database, ask)
    finally:
        await accounts.execute("DELETE FROM account_tokens")
    assert len(plans) == 6
    for plan in plans:
        assert "ix_account_tokens_next_refresh_at" in plan.indexes, plan
        assert not plan.whole_tables & {"account_tokens"}, plan
