"""TikTok access tokens, asked from accounts for each look and not kept."""

import hashlib
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from analytics.domain.account_copy import ACTIVE
from analytics.domain.look_failures import LookFailed, MayNotLook
from common.errors import Problem
from common.http.client import ServiceClient, ServiceFailure

TOKEN_SECONDS = 10.0
"""Accounts may have to refresh the token at TikTok first."""
_NOT_NOW = frozenset({404, 409})


class Access(BaseModel):
    """A TikTok access token with whose it is; never logged, never stored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr
    open_id: str
    scopes: tuple[str, ...] = ()
    status: str = ACTIVE


class AccountsClient:
    """Asks accounts for tokens."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def access(self, account_id: UUID, *, scope: str, refused: SecretStr | None = None) -> Access:
        """Return a token that allows `scope`; `refused` is one that TikTok has just not accepted.

        Raises `MayNotLook` when the account is paused, expired or gone or lacks the scope, `LookFailed` when accounts gives no
        answer.
        """
        body = {} if refused is None else {"rejected_token_sha256": _digest(refused)}
        try:
            path = f"/internal/accounts/{account_id}/access-token"
            access = Access.model_validate(await self._service.post(path, json=body, timeout=TOKEN_SECONDS))
        except Problem as problem:
            if problem.status in _NOT_NOW:
                raise MayNotLook(problem.code) from None
            raise LookFailed(problem.code) from None
        except ServiceFailure as failure:
            raise LookFailed("accounts_unavailable", retry_after=failure.retry_after or 0.0) from None
        except ValidationError:
            raise LookFailed("accounts_unavailable") from None
        if access.status != ACTIVE:
            raise MayNotLook(f"account_{access.status}")
        if scope not in access.scopes:
            raise MayNotLook("missing_scope")
        return access


def _digest(token: SecretStr) -> str:
    return hashlib.sha256(token.get_secret_value().encode()).hexdigest()
