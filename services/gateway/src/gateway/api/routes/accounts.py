"""Connected TikTok accounts: changes go to accounts as commands, reads by HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from common.contracts.accounts import DisconnectAccount, SyncAccount, SyncAccounts, UpdateAccount
from common.http.paging import Page
from gateway.api.callers import allowed
from gateway.api.commanding import command, read_body
from gateway.api.documents import IDEMPOTENCY_KEY, accepted, body, paging, parameters, problems, query
from gateway.api.forwarding import forward
from gateway.api.models.accounts import (
    Account,
    AccountChange,
    AccountDetail,
    AccountIds,
    AccountSummary,
    CreatorInfo,
    SyncedAccount,
    SyncedAccounts,
)
from gateway.api.models.shared import EmptyBody
from gateway.clients.upstreams import SLOW_TIMEOUT_S
from gateway.security.authenticator import Caller

router = APIRouter(prefix="/api/v1/accounts", tags=["accounts"])
Reader = Annotated[Caller, Depends(allowed("accounts:read"))]
Writer = Annotated[Caller, Depends(allowed("accounts:write"))]
BODIES = (AccountChange, AccountIds, EmptyBody)


@router.get(
    "",
    response_model=Page[Account],
    responses=problems(401, 403),
    openapi_extra=parameters(
        *paging(20, 50),
        query("status", "Only accounts of this status.", type="string", enum=["active", "inactive", "expired"]),
        query(
            "search",
            "Part of the username or display name, in any script; case and accents do not matter.",
            type="string",
            maxLength=100,
        ),
    ),
)
async def list_accounts(request: Request, caller: Reader) -> Response:
    """List the user's accounts."""
    return await forward(request, "accounts", "/internal/accounts", caller=caller)


@router.get("/stats/summary", response_model=AccountSummary, responses=problems(401, 403))
async def summary(request: Request, caller: Reader) -> Response:
    """Count the user's accounts and add up their followers and videos."""
    return await forward(request, "accounts", "/internal/accounts/stats/summary", caller=caller)


@router.get("/{account_id}", response_model=AccountDetail, responses=problems(401, 403, 404))
async def get_account(request: Request, caller: Reader, account_id: UUID) -> Response:
    """Return one account."""
    return await forward(request, "accounts", f"/internal/accounts/{account_id}", caller=caller)


@router.get("/{account_id}/creator-info", response_model=CreatorInfo, responses=problems(401, 403, 404, 409, 502))
async def creator_info(request: Request, caller: Reader, account_id: UUID) -> Response:
    """Return what this creator may post now (at most a minute old)."""
    path = f"/internal/accounts/{account_id}/creator-info"
    return await forward(request, "accounts", path, caller=caller, timeout=SLOW_TIMEOUT_S)


@router.patch(
    "/{account_id}",
    response_model=AccountDetail,
    responses=accepted() | problems(401, 403, 404, 409, 415),
    openapi_extra=body(AccountChange) | parameters(IDEMPOTENCY_KEY),
)
async def update_account(request: Request, caller: Writer, account_id: UUID) -> Response:
    """Pause or resume an account."""
    change = await read_body(request, AccountChange)
    message = UpdateAccount(account_id=account_id, status=change.status)
    return await command(request, caller, message, scope="accounts:write", subject=account_id)


@router.delete(
    "/{account_id}",
    status_code=204,
    responses=accepted() | problems(401, 403, 404),
    openapi_extra=parameters(IDEMPOTENCY_KEY),
)
async def disconnect_account(request: Request, caller: Writer, account_id: UUID) -> Response:
    """Disconnect an account: its waiting posts are cancelled, and the access is revoked at TikTok."""
    return await command(request, caller, DisconnectAccount(account_id=account_id), scope="accounts:write", subject=account_id)


@router.post(
    "/batch/sync",
    response_model=SyncedAccounts,
    responses=accepted() | problems(401, 403, 415),
    openapi_extra=body(AccountIds) | parameters(IDEMPOTENCY_KEY),
)
async def sync_accounts(request: Request, caller: Writer) -> Response:
    """Read profiles and counters of up to 100 accounts from TikTok; each has a result of its own."""
    wanted = await read_body(request, AccountIds)
    return await command(request, caller, SyncAccounts(account_ids=wanted.account_ids), scope="accounts:write")


@router.post(
    "/{account_id}/sync",
    response_model=SyncedAccount,
    responses=accepted() | problems(401, 403, 404, 409, 502),
    openapi_extra=body(EmptyBody, required=False) | parameters(IDEMPOTENCY_KEY),
)
async def sync_account(request: Request, caller: Writer, account_id: UUID) -> Response:
    """Read an account's profile and counters from TikTok."""
    if await request.body():
        await read_body(request, EmptyBody)
    return await command(request, caller, SyncAccount(account_id=account_id), scope="accounts:write", subject=account_id)
