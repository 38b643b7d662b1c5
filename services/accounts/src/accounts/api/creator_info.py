"""What a creator may post now, for owners and for the scheduler."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from accounts.api.accounts import creator_info_of
from accounts.api.identity import WiredParts, live_user
from common.http.identity import caller, check_scope, current_user

router = APIRouter(tags=["accounts"])
_from_scheduler = caller("scheduler")


async def asking_user(request: Request, parts: WiredParts, user_id: Annotated[UUID | None, Query()] = None) -> UUID:
    """Return for whom is asked: the scheduler names the user in `user_id`, anyone else is that user by their token."""
    if user_id is not None:
        await _from_scheduler(request)
        return user_id
    claims = await live_user(parts, await current_user(request))
    check_scope(claims, "accounts:read")
    return claims.user_id


@router.get("/internal/accounts/{account_id}/creator-info")
async def show(account_id: UUID, parts: WiredParts, user_id: Annotated[UUID, Depends(asking_user)]) -> dict[str, Any]:
    """Show it to the owner, or to the scheduler on behalf of `user_id`."""
    return await creator_info_of(parts, account_id, user_id)


@router.get("/internal/users/{user_id}/accounts/{account_id}/creator-info")
async def show_to_scheduler(
    user_id: UUID, account_id: UUID, parts: WiredParts, _: Annotated[str, Depends(_from_scheduler)]
) -> dict[str, Any]:
    """Show it to the scheduler."""
    return await creator_info_of(parts, account_id, user_id)
