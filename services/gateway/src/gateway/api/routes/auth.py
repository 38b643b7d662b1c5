"""Registration, logins, sessions and API keys: all of it belongs to accounts, and goes there by HTTP only."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from common.http.paging import Page
from gateway.api.callers import Person, SignedIn, limited_by_address
from gateway.api.documents import NO_AUTHENTICATION, body, paging, parameters, problems
from gateway.api.forwarding import forward
from gateway.api.models.auth import (
    ApiKey,
    CreatedApiKey,
    Login,
    NewApiKey,
    PasswordChange,
    Refresh,
    Registration,
    Tokens,
    User,
)

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])
LimitedByAddress = Annotated[None, Depends(limited_by_address)]
BODIES = (Registration, Login, PasswordChange, Refresh, NewApiKey)


@router.post(
    "/register",
    status_code=201,
    response_model=Tokens,
    responses=problems(409),
    openapi_extra=body(Registration) | NO_AUTHENTICATION,
)
async def register(request: Request, _: LimitedByAddress) -> Response:
    """Register a user and open a session."""
    return await forward(request, "accounts", "/internal/auth/register", caller=None)


@router.post("/login", response_model=Tokens, responses=problems(401), openapi_extra=body(Login) | NO_AUTHENTICATION)
async def login(request: Request, _: LimitedByAddress) -> Response:
    """Open a session."""
    return await forward(request, "accounts", "/internal/auth/login", caller=None)


@router.post("/password", response_model=Tokens, responses=problems(401, 403), openapi_extra=body(PasswordChange))
async def change_password(request: Request, _: LimitedByAddress, caller: Person) -> Response:
    """Change the password. Every session of the user ends, this one too; the answer has the tokens of a new one."""
    return await forward(request, "accounts", "/internal/auth/password", caller=caller)


@router.post("/refresh", response_model=Tokens, responses=problems(401), openapi_extra=body(Refresh) | NO_AUTHENTICATION)
async def refresh(request: Request, _: LimitedByAddress) -> Response:
    """Replace the session's tokens; an old refresh token that comes back revokes the session."""
    return await forward(request, "accounts", "/internal/auth/refresh", caller=None)


@router.post("/logout", status_code=204, responses=problems(401, 403))
async def logout(request: Request, caller: Person) -> Response:
    """End the session; its tokens stop working everywhere within a second."""
    return await forward(request, "accounts", "/internal/auth/logout", caller=caller)


@router.get("/me", response_model=User, responses=problems(401))
async def me(request: Request, caller: SignedIn) -> Response:
    """Tell who the token belongs to."""
    return await forward(request, "accounts", "/internal/auth/me", caller=caller)


@router.post(
    "/api-keys", status_code=201, response_model=CreatedApiKey, responses=problems(401, 403), openapi_extra=body(NewApiKey)
)
async def create_api_key(request: Request, caller: Person) -> Response:
    """Make an API key; its secret is shown this once."""
    return await forward(request, "accounts", "/internal/auth/api-keys", caller=caller)


@router.get("/api-keys", response_model=Page[ApiKey], responses=problems(401, 403), openapi_extra=parameters(*paging(20, 50)))
async def list_api_keys(request: Request, caller: Person) -> Response:
    """List the user's API keys."""
    return await forward(request, "accounts", "/internal/auth/api-keys", caller=caller)


@router.delete("/api-keys/{api_key_id}", status_code=204, responses=problems(401, 403, 404))
async def revoke_api_key(request: Request, caller: Person, api_key_id: UUID) -> Response:
    """Revoke an API key; it stops working within a second."""
    return await forward(request, "accounts", f"/internal/auth/api-keys/{api_key_id}", caller=caller)
