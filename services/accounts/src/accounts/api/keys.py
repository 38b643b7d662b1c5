"""What verifiers of user tokens need: the public keys, and what was revoked."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel

from accounts.api.identity import WiredParts
from accounts.settings import ACCESS_TOKEN_TTL_MAX, API_KEY_TOKEN_TTL_MAX
from accounts.storage.revocations import Revocation, revocations_since, safe_horizon
from common.auth.jwks import JWKS_PATH, jwks_of
from common.clock import utc_now
from common.http.identity import caller

router = APIRouter(tags=["keys"])
REVOCATIONS_PER_PAGE = 2_000
LONGEST_TOKEN = timedelta(seconds=ACCESS_TOKEN_TTL_MAX)
LONGEST_KEY_TOKEN = timedelta(seconds=API_KEY_TOKEN_TTL_MAX)
"""Whatever the settings say today: tokens that were issued before they were lowered live as long as they were issued for."""

JWKS_CACHE = "public, max-age=60"


class RevocationAnswer(BaseModel):
    """Tokens of this session or API key are refused; it may be forgotten after `tokens_expire_at`."""

    kind: str
    id: UUID
    revoked_at: datetime
    tokens_expire_at: datetime

    @classmethod
    def of(cls, revocation: Revocation) -> "RevocationAnswer":
        """Show a revocation."""
        return cls(
            kind=revocation.kind,
            id=revocation.id,
            revoked_at=revocation.revoked_at,
            tokens_expire_at=revocation.tokens_expire_at,
        )


class RevocationsAnswer(BaseModel):
    """Revocations, oldest first; ask again from `next_since` on, while `has_more` at once and with `next_after` as `after`.

    Nothing from before `settled_until` that is not told by now will ever be: it lags half a minute, because a revocation is stamped
    before it is committed. Whoever comes back later asks from there at the latest, and is told some twice.
    """

    items: list[RevocationAnswer]
    next_since: datetime
    next_after: UUID | None
    settled_until: datetime
    has_more: bool


@router.get(JWKS_PATH)
async def jwks(parts: WiredParts, response: Response) -> dict[str, Any]:
    """Return the public keys of user tokens (RFC 7517)."""
    response.headers["Cache-Control"] = JWKS_CACHE
    return jwks_of(parts.keys.public_keys())


@router.get("/internal/revocations")
async def revocations(
    parts: WiredParts,
    _: Annotated[str, Depends(caller("gateway"))],
    since: Annotated[AwareDatetime | None, Query()] = None,
    after: Annotated[UUID | None, Query()] = None,
) -> RevocationsAnswer:
    """Return what was revoked from `since` on (at that very moment: with an id beyond `after`); without, all that still matters."""
    start = since if since is not None else utc_now() - LONGEST_TOKEN
    async with parts.database.read() as connection:
        horizon = await safe_horizon(connection)
        found = await revocations_since(
            connection, start, after=after, key_token_life=LONGEST_KEY_TOKEN, limit=REVOCATIONS_PER_PAGE + 1
        )
    shown = found[:REVOCATIONS_PER_PAGE]
    has_more = len(found) > len(shown)
    next_since = shown[-1].revoked_at if has_more else max(start, horizon)
    return RevocationsAnswer(
        items=[RevocationAnswer.of(revocation) for revocation in shown],
        next_since=next_since,
        next_after=shown[-1].id if has_more else None,
        settled_until=horizon,
        has_more=has_more,
    )
