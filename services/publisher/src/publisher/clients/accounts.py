"""Access tokens, asked from accounts and kept in memory for a minute at most."""

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from common.errors import Problem
from common.http.client import ServiceClient, ServiceFailure
from publisher.domain.outcomes import Reason
from publisher.domain.troubles import Trouble, TroubleKind
from publisher.errors import CallFailed

CACHE_SECONDS = 60.0
MAX_CACHED = 2_000


class Access(BaseModel):
    """A TikTok access token with whose it is; never logged, never stored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr
    open_id: str
    username: str
    expires_at: datetime
    scopes: tuple[str, ...] = ()
    status: str = "active"


@dataclass(frozen=True, slots=True)
class _Cached:
    access: Access
    until: float


class AccountsClient:
    """Asks accounts for tokens."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service
        self._cache: dict[UUID, _Cached] = {}

    async def access(
        self, account_id: UUID, *, cached: bool = False, refused: SecretStr | None = None, under_way: bool = False
    ) -> Access:
        """Return a valid token of the account.

        With `cached` one that is up to a minute old will do. `under_way` is for what began before: its tokens are given out for
        some minutes more after the account was disconnected. `refused` names a token that TikTok did not accept:
        accounts then refreshes unless it has a newer one already. Raises `CallFailed` when the account is paused, expired or
        gone, or accounts does not answer.
        """
        known = self._cache.get(account_id)
        if cached and refused is None and known is not None and time.monotonic() < known.until:
            return known.access
        body: dict[str, str | bool] = {"under_way": under_way}
        if refused is not None:
            body["force_refresh"] = token_hash(refused)
        try:
            answer = await self._service.post(f"/internal/accounts/{account_id}/access-token", json=body, timeout=20.0)
            access = Access.model_validate(answer)
        except (Problem, ServiceFailure, ValidationError) as error:
            self._cache.pop(account_id, None)
            raise CallFailed(_trouble_of(error)) from None
        self._remember(account_id, access)
        return access

    def _remember(self, account_id: UUID, access: Access) -> None:
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[account_id] = _Cached(access, time.monotonic() + CACHE_SECONDS)


def token_hash(token: SecretStr) -> str:
    """Return the SHA-256 of a token in hex, which names it without telling it."""
    return hashlib.sha256(token.get_secret_value().encode()).hexdigest()


def _trouble_of(error: Problem | ServiceFailure | ValidationError) -> Trouble:
    if isinstance(error, Problem):
        return _trouble_of_problem(error)
    wait = error.retry_after if isinstance(error, ServiceFailure) else None
    reason = Reason(
        "accounts_unavailable", "The account's access could not be looked up.", "Nothing to do; it is tried again."
    )
    return Trouble(TroubleKind.NOT_SENT, reason, wait)


def _trouble_of_problem(problem: Problem) -> Trouble:
    if problem.status == 404:
        reason = Reason("account_not_found", "The TikTok account is no longer connected.", "Connect the account again.")
        return Trouble(TroubleKind.ACCOUNT_GONE, reason)
    reason = Reason(problem.code, problem.detail, problem.hint)
    if problem.status == 409:
        return Trouble(TroubleKind.ACCOUNT_WAITS, reason)
    return Trouble(TroubleKind.NOT_SENT, reason)
