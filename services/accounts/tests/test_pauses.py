"""An owner's pause lasts until the owner ends it, whatever becomes of the grant meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from accounts.domain.token_life import token_life
from accounts.storage.account_tokens import SealedPair, find_pair
from accounts.usecases.expire_account import expire_account
from accounts.usecases.store_refreshed_pair import store_refreshed_pair
from common.clock import utc_now
from common.contracts.accounts import DisconnectAccount, UpdateAccount
from common.contracts.context import Context
from common.database.migrate import upgrade
from common.ids import uuid7

pytestmark = pytest.mark.integration
RIGHTS = ("user.info.basic", "video.publish")
CONTEXT = Context.of_service("accounts")

ACCOUNTS_THAT_WERE_THERE = """
INSERT INTO users (id, email, email_key, username, password_hash, timezone) VALUES (gen_random_uuid(), 'a', 'a', 'a', 'x', 'UTC');
INSERT INTO tiktok_accounts (id, user_id, open_id, username, display_name, search_text, status, scopes, version)
SELECT gen_random_uuid(), users.id, status, 'u', 'u', 'u', status, '{}', 1
FROM users, unnest(array['active', 'inactive', 'expired']) AS status;
"""


@dataclass
class Connected:
    """One connected account: its owner's commands, and what becomes of its grant."""

    accounts: Any
    send: Any
    person: Any
    id: UUID

    async def patch(self, status: Any) -> Any:
        return await self.send(UpdateAccount(account_id=self.id, status=status), self.person)

    async def reconnect(self) -> None:
        assert await self.accounts.connect(self.person) == self.id

    async def status(self) -> str:
        return str((await self._shown())["status"])

    async def last_error(self) -> str | None:
        error: str | None = (await self._shown())["last_error"]
        return error

    async def pair_id(self) -> UUID:
        async with self.accounts.database.read() as connection:
            pair = await find_pair(connection, self.id)
        assert pair is not None
        return pair.pair_id

    async def withdraw(self) -> None:
        outbox, pair_id = self.accounts.parts.outbox, await self.pair_id()
        async with self.accounts.database.transaction() as tx:
            assert await expire_account(tx, outbox, CONTEXT, account_id=self.id, pair_id=pair_id, reason="withdrawn")

    async def refreshed(self, scopes: tuple[str, ...] = RIGHTS) -> None:
        """Store a pair as TikTok gave it, with these scopes."""
        outbox, old = self.accounts.parts.outbox, await self.pair_id()
        life = token_life(utc_now(), expires_in=7200, refresh_expires_in=1e7, ahead=timedelta(seconds=600), spread=0)
        pair = SealedPair(uuid7(), b"a", b"r", life)
        rights = {"scopes": scopes, "required_scopes": RIGHTS}
        async with self.accounts.database.transaction() as tx:
            assert await store_refreshed_pair(tx, outbox, CONTEXT, account_id=self.id, old_pair_id=old, pair=pair, **rights)

    async def _shown(self) -> dict[str, Any]:
        answer = await self.accounts.http.get(f"/internal/accounts/{self.id}", headers=self.person.auth)
        shown: dict[str, Any] = answer.json()
        return shown


@pytest.fixture
async def account(accounts: Any, send: Any) -> Connected:
    person = await accounts.register()
    return Connected(accounts, send, person, await accounts.connect(person))


async def test_a_pause_outlives_the_grant_until_its_owner_ends_it(events: Any, account: Connected) -> None:
    await account.patch("inactive")
    for _ in range(2):
        await account.withdraw()
        assert await account.status() == "expired"
        for status in ("active", "inactive"):
            assert (await account.patch(status)).body["code"] == "account_expired"
        await account.reconnect()
        assert await account.status() == "inactive"
    told = await events.of("accounts.account.connected.v1", 3)
    assert sorted((event.sequence_number, event.data["status"]) for event in told)[1:] == [(4, "inactive"), (6, "inactive")]
    assert {event.data["status"] for event in await events.of("accounts.account.expired.v1", 2)} == {"expired"}
    await account.patch("active")
    await account.withdraw()
    await account.reconnect()
    assert await account.status() == "active", "a pause that was ended does not come back"


async def test_a_late_pair_brings_a_paused_account_back_paused(events: Any, account: Connected) -> None:
    await account.patch("inactive")
    await account.withdraw()
    await account.refreshed(())
    assert await account.status() == "inactive"
    told = await events.of("accounts.account.updated.v1", 2)
    assert [(event.sequence_number, event.data["status"]) for event in told] == [(2, "inactive"), (4, "inactive")]


async def test_a_pause_ends_with_the_account_that_its_owner_removes(account: Connected) -> None:
    await account.patch("inactive")
    await account.withdraw()
    await account.send(DisconnectAccount(account_id=account.id), account.person)
    await account.reconnect()
    assert await account.status() == "active"
    await account.withdraw()
    await account.reconnect()
    assert await account.status() == "active"


async def test_accounts_that_were_paused_already_stay_paused(empty_database: Callable[[str], Awaitable[str]]) -> None:
    url = await empty_database("accounts_before_pauses")
    await upgrade("accounts", url, "0004")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(ACCOUNTS_THAT_WERE_THERE)
        await upgrade("accounts", url)
        paused = await connection.fetch("SELECT status FROM tiktok_accounts WHERE paused")
    finally:
        await connection.close()
    assert [row["status"] for row in paused] == ["inactive"]


async def test_pausing_and_expiring_leave_the_warning_of_a_missing_right(account: Connected) -> None:
    await account.refreshed(("user.info.basic",))
    warning = await account.last_error()
    assert warning is not None
    assert "video.publish" in warning
    for status in ("inactive", "active"):
        assert (await account.patch(status)).body["last_error"] == warning
    for scopes in ((), ("user.info.basic",)):
        await account.withdraw()
        assert await account.last_error() == "withdrawn"
        await account.refreshed(scopes)
        assert (await account.status(), await account.last_error()) == ("active", warning)
    await account.patch("inactive")
    await account.refreshed(RIGHTS)
    assert (await account.status(), await account.last_error()) == ("inactive", None)
