"""What the scheduler asks of the accounts service."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from common.errors import Problem, Transient
from common.http.client import ServiceClient
from scheduler.clients.silence import Silence
from scheduler.domain.account_copy import AccountCopy

PATIENCE_S = 2.0
SILENCE_S = 1.0
"""As long as those wait who are told that accounts are unavailable."""

T = TypeVar("T")


class AccountsAway(Exception):
    """The accounts service did not answer, or not in a way that can be understood."""


@dataclass(frozen=True, slots=True)
class FoundAccount:
    """An account as it is now; after `grant_expires_at` there are no tokens any more unless it is renewed before.

    `scopes` are what its creator granted, None when that was not told.
    """

    copy: AccountCopy
    grant_expires_at: datetime | None
    scopes: frozenset[str] | None = None


class _Account(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: UUID
    username: str = ""
    status: Literal["active", "inactive", "expired"]
    version: int = 0
    grant_expires_at: AwareDatetime | None = None
    scopes: frozenset[str] = frozenset()


class _Accounts(BaseModel):
    model_config = ConfigDict(extra="ignore")
    items: list[_Account]


class AccountsClient:
    """Looks up the accounts of a user; at most 2 s of patience per call.

    After three waits in vain, one after the other, the choice of a post's account waits no more: one call a second tries for all.
    """

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._silence = Silence(SILENCE_S)

    async def active_accounts(self, user_id: UUID) -> Sequence[AccountCopy]:
        """Return the active accounts of a user, at most 50; raises AccountsAway."""
        body = await self._unless_silent(lambda: self._get(f"/internal/users/{user_id}/accounts", {"status": "active"}))
        try:
            found = _Accounts.model_validate(body)
        except ValidationError as error:
            raise AccountsAway("the list of accounts cannot be understood") from error
        return [_copy(account, user_id) for account in found.items]

    async def account(self, user_id: UUID, account_id: UUID) -> AccountCopy | None:
        """Return one account of a user, None when that user has no such account; raises AccountsAway."""
        found = await self._unless_silent(lambda: self.look_up(user_id, account_id))
        return None if found is None else found.copy

    async def look_up(self, user_id: UUID, account_id: UUID, *, patience: float = PATIENCE_S) -> FoundAccount | None:
        """Return one account of a user with its grant, None when that user has none such; raises AccountsAway."""
        body = await self._get(f"/internal/users/{user_id}/accounts/{account_id}", patience=patience)
        if body is None:
            return None
        try:
            found = _Account.model_validate(body)
        except ValidationError as error:
            raise AccountsAway("the account cannot be understood") from error
        return FoundAccount(_copy(found, user_id), found.grant_expires_at, found.scopes or None)

    async def _unless_silent(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._silence.is_kept():
            raise AccountsAway("others have just waited for accounts in vain")
        since = monotonic()
        try:
            found = await ask()
        except AccountsAway:
            self._silence.note(object(), answered=False, waited=monotonic() - since)
            raise
        self._silence.note(None, answered=True, waited=monotonic() - since)
        return found

    async def _get(self, path: str, params: dict[str, str] | None = None, *, patience: float = PATIENCE_S) -> object:
        try:
            return await self._client.get(path, params=params, timeout=patience)
        except Problem as problem:
            if problem.status == 404:
                return None
            raise AccountsAway(f"accounts refused: {problem.status} {problem.code}") from problem
        except Transient as error:
            raise AccountsAway(str(error)) from error


def _copy(account: _Account, user_id: UUID) -> AccountCopy:
    return AccountCopy(
        id=account.id, user_id=user_id, username=account.username, status=account.status, version=account.version
    )
