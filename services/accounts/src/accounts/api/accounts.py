"""TikTok accounts for their owners."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from accounts.account_answers import AccountAnswer, AccountDetailAnswer
from accounts.api.identity import WiredParts, live_user_with
from accounts.creator_infos import SeenCreatorInfo
from accounts.domain.account import Account, AccountStatus
from accounts.parts import Parts
from accounts.storage.account_reads import AccountFilter, count_accounts, find_account, list_accounts
from accounts.storage.account_summary import Summary, summarise
from accounts.usecases.account_problems import account_expired, account_not_found
from common.auth.claims import UserClaims
from common.http.paging import TOTAL_CAP, Page, decode_cursor, page_cursor, page_limit, page_of

router = APIRouter(prefix="/internal/accounts", tags=["accounts"])
SEARCH_MAX = 100

MayRead = Annotated[UserClaims, Depends(live_user_with("accounts:read"))]


@router.get("")
async def show_accounts(
    parts: WiredParts,
    claims: MayRead,
    limit: int = page_limit(20, 50),
    cursor: str | None = page_cursor(),
    status: AccountStatus | None = None,
    search: Annotated[str | None, Query(max_length=SEARCH_MAX)] = None,
) -> Page[AccountAnswer]:
    """List the user's accounts, newest first; `search` ignores case, accents and how letters are dressed."""
    chosen = AccountFilter(claims.user_id, status, search)
    scope = f"accounts:{claims.user_id}:{status}:{search}"
    before = decode_cursor(cursor, [UUID], scope=scope)[0] if cursor is not None else None
    async with parts.database.read() as connection:
        rows = await list_accounts(connection, chosen, limit=limit + 1, before=before)
        total = await count_accounts(connection, chosen, cap=TOTAL_CAP + 1)
    return page_of(rows, limit=limit, total=total, item=AccountAnswer.of, key=lambda row: [row.id], scope=scope)


@router.get("/stats/summary")
async def show_summary(parts: WiredParts, claims: MayRead) -> Summary:
    """Count the user's accounts and add their numbers up."""
    async with parts.database.read() as connection:
        return await summarise(connection, claims.user_id)


@router.get("/{account_id}")
async def show_account(account_id: UUID, parts: WiredParts, claims: MayRead) -> AccountDetailAnswer:
    """Show one account. 404 `account_not_found`, also for another user's."""
    return AccountDetailAnswer.of(await owned_account(parts, account_id, claims.user_id))


async def owned_account(parts: Parts, account_id: UUID, user_id: UUID) -> Account:
    """Return the user's account. Raises Problem 404 `account_not_found`."""
    async with parts.database.read() as connection:
        account = await find_account(connection, account_id, user_id=user_id)
    if account is None:
        raise account_not_found()
    return account


async def creator_info_of(parts: Parts, account_id: UUID, user_id: UUID) -> dict[str, Any]:
    """Return what the creator of the user's account may post now. Raises the Problems of `CreatorInfos.get`, and 404."""
    account = await owned_account(parts, account_id, user_id)
    if account.status is AccountStatus.EXPIRED:
        # What is remembered from before would promise what TikTok now refuses.
        raise account_expired()
    seen: SeenCreatorInfo = await parts.creator_infos.get(account_id)
    return {"account_id": account_id, **seen.info.model_dump(), "fetched_at": seen.fetched_at}
