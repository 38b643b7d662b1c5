"""What a creator may post now, for owners and for the scheduler."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends

from accounts.api.accounts import MayRead, creator_info_of
from accounts.api.identity import WiredParts
from common.http.identity import caller

router = APIRouter(tags=["accounts"])


@router.get("/internal/accounts/{account_id}/creator-info")
async def show(account_id: UUID, parts: WiredParts, claims: MayRead) -> dict[str, Any]:
    """Show it to the owner."""
    return await creator_info_of(parts, account_id, claims.user_id)


@router.get("/internal/users/{user_id}/accounts/{account_id}/creator-info")
async def show_to_scheduler(
    user_id: UUID, account_id: UUID, parts: WiredParts, _: Annotated[str, Depends(caller("scheduler"))]
) -> dict[str, Any]:
    """Show it to the scheduler."""
    return await creator_info_of(parts, account_id, user_id)
