"""Connected TikTok accounts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from common.http.paging import Page
from gateway.api.callers import allowed
from gateway.api.documents import paging, parameters, problems, query
from gateway.api.forwarding import forward
from gateway.api.models.accounts import Account, AccountDetail, CreatorInfo
from gateway.clients.upstreams import SLOW_TIMEOUT_S
from gateway.security.authenticator import Caller

router = APIRouter(prefix="/api/v1/accounts", tags=["accounts"])
Reader = Annotated[Caller, Depends(allowed("accounts:read"))]


@router.get(
    "",
    response_model=Page[Account],
    responses=problems(401, 403),
    openapi_extra=parameters(
        *paging(20, 50),
        query("status", "Only accounts of this status.", type="string", enum=["active", "inactive", "expired"]),
        query("search", "Part of the username or display name."),
    ),
)
async def list_accounts(request: Request, caller: Reader) -> Response:
    """List the user's accounts."""
    return await forward(request, "accounts", "/internal/accounts", caller=caller)


@router.get("/{account_id}", response_model=AccountDetail, responses=problems(401, 403, 404))
async def get_account(request: Request, caller: Reader, account_id: UUID) -> Response:
    """Return one account."""
    return await forward(request, "accounts", f"/internal/accounts/{account_id}", caller=caller)


@router.get("/{account_id}/creator-info", response_model=CreatorInfo, responses=problems(401, 403, 404, 409))
async def creator_info(request: Request, caller: Reader, account_id: UUID) -> Response:
    """Return what this creator may post now (at most a minute old)."""
    path = f"/internal/accounts/{account_id}/creator-info"
    return await forward(request, "accounts", path, caller=caller, timeout=SLOW_TIMEOUT_S)
