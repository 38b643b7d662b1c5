"""TikTok accounts for other services, and access tokens for those that call TikTok."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from accounts.account_answers import ServiceAccountAnswer
from accounts.api.accounts import owned_account
from accounts.api.bodies import AccessTokenRequest
from accounts.api.identity import WiredParts
from accounts.domain.account import AccountStatus
from accounts.storage.account_reads import AccountFilter, count_accounts, list_accounts
from common.http.identity import caller
from common.http.paging import TOTAL_CAP, Page, decode_cursor, page_cursor, page_limit, page_of

router = APIRouter(prefix="/internal", tags=["services"])
FromScheduler = Annotated[str, Depends(caller("scheduler"))]


class AccessTokenAnswer(BaseModel):
    """A token to call TikTok with."""

    access_token: str
    expires_at: datetime
    scopes: list[str]
    open_id: str
    username: str
    status: AccountStatus


@router.get("/users/{user_id}/accounts")
async def show_accounts(
    user_id: UUID,
    parts: WiredParts,
    _: FromScheduler,
    limit: int = page_limit(50, 50),
    cursor: str | None = page_cursor(),
    status: AccountStatus | None = None,
) -> Page[ServiceAccountAnswer]:
    """List a user's accounts, newest first."""
    chosen = AccountFilter(user_id, status)
    scope = f"service_accounts:{user_id}:{status}"
    before = decode_cursor(cursor, [UUID], scope=scope)[0] if cursor is not None else None
    async with parts.database.read() as connection:
        rows = await list_accounts(connection, chosen, limit=limit + 1, before=before)
        total = await count_accounts(connection, chosen, cap=TOTAL_CAP + 1)
    return page_of(rows, limit=limit, total=total, item=ServiceAccountAnswer.of, key=lambda row: [row.id], scope=scope)


@router.get("/users/{user_id}/accounts/{account_id}")
async def show_account(user_id: UUID, account_id: UUID, parts: WiredParts, _: FromScheduler) -> ServiceAccountAnswer:
    """Show one account of a user. 404 `account_not_found`."""
    return ServiceAccountAnswer.of(await owned_account(parts, account_id, user_id))


@router.post("/accounts/{account_id}/access-token")
async def access_token(
    account_id: UUID,
    parts: WiredParts,
    response: Response,
    service: Annotated[str, Depends(caller("publisher", "analytics"))],
    body: AccessTokenRequest | None = None,
) -> AccessTokenAnswer:
    """Give a token TikTok should accept, refreshed first when little life is left or the given hash is the current one's.

    Of a disconnected account the publisher gets one for jobs under way, until the grant is revoked. 404 `account_not_found`, 409
    `account_expired`, 503 `tiktok_unavailable`.
    """
    asked = body or AccessTokenRequest()
    token = await parts.tokens.get(
        account_id,
        rejected_sha256=asked.rejected_token_sha256,
        under_way=asked.under_way and service == "publisher",
    )
    response.headers["Cache-Control"] = "no-store"
    return AccessTokenAnswer(
        access_token=token.token.get_secret_value(),
        expires_at=token.expires_at,
        scopes=list(token.scopes),
        open_id=token.open_id,
        username=token.username,
        status=token.status,
    )
