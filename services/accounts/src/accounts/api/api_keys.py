"""API keys: made, listed and revoked by logged-in people; exchanged by the gateway."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from accounts.api.answers import ApiKeyAnswer, NewApiKeyAnswer
from accounts.api.bodies import ApiKeyExchange, NewApiKey
from accounts.api.identity import Person, WiredParts, session_id_of
from accounts.api.never_stored import never_stored
from accounts.api.revocations_told import revocations_told
from accounts.storage.api_keys import count_api_keys, list_api_keys
from accounts.usecases.create_api_key import create_api_key
from accounts.usecases.revoke_api_key import revoke_api_key
from accounts.usecases.use_api_key import invalid_api_key, use_api_key
from common.http.identity import caller, request_context
from common.http.paging import Page, decode_cursor, page_cursor, page_limit, page_of

router = APIRouter(tags=["api keys"], dependencies=[Depends(never_stored)])
_LIST = "api_keys"


class ExchangedAnswer(BaseModel):
    """A short user token for a key; `expires_in` in seconds."""

    access_token: str
    expires_in: int
    api_key_id: UUID
    user_id: UUID
    scopes: list[str]


@router.post("/internal/auth/api-keys", status_code=201)
async def create(request: Request, body: NewApiKey, parts: WiredParts, claims: Person) -> NewApiKeyAnswer:
    """Make a key; its secret is in this answer and nowhere else. 409 `too_many_api_keys`."""
    async with parts.database.transaction() as tx:
        made = await create_api_key(
            tx,
            parts.outbox,
            request_context(request),
            user_id=claims.user_id,
            session_id=session_id_of(claims),
            name=body.name,
            scopes=sorted({scope.value for scope in body.scopes}),
            expires_at=body.expires_at,
        )
    return NewApiKeyAnswer.of_new(made)


@router.get("/internal/auth/api-keys")
async def show(
    parts: WiredParts, claims: Person, limit: int = page_limit(20, 50), cursor: str | None = page_cursor()
) -> Page[ApiKeyAnswer]:
    """List the user's keys, newest first; revoked ones are not shown."""
    scope = f"{_LIST}:{claims.user_id}"
    before = decode_cursor(cursor, [UUID], scope=scope)[0] if cursor is not None else None
    async with parts.database.read() as connection:
        rows = await list_api_keys(connection, claims.user_id, limit=limit + 1, before=before)
        total = await count_api_keys(connection, claims.user_id)
    return page_of(rows, limit=limit, total=total, item=ApiKeyAnswer.of, key=lambda key: [key.id], scope=scope)


@router.delete("/internal/auth/api-keys/{api_key_id}", status_code=204)
async def revoke(request: Request, api_key_id: UUID, parts: WiredParts, claims: Person) -> Response:
    """Revoke a key. 404 `api_key_not_found`, also for another user's."""
    async with parts.database.transaction() as tx:
        event_id = await revoke_api_key(tx, parts.outbox, request_context(request), user_id=claims.user_id, key_id=api_key_id)
    await revocations_told(parts, event_id)
    return Response(status_code=204)


@router.post("/internal/api-keys/exchange")
async def exchange(
    request: Request, body: ApiKeyExchange, parts: WiredParts, _: Annotated[str, Depends(caller("gateway"))]
) -> ExchangedAnswer:
    """Give a short user token with the key's scopes. 401 `invalid_api_key`."""
    async with parts.database.transaction() as tx:
        context = request_context(request)
        key = await use_api_key(tx, parts.outbox, context, body.key, many_addresses=body.many_addresses)
    if key is None:
        raise invalid_api_key()
    issued = parts.jwts.for_api_key(key.user_id, key.id, key.scopes, key_expires_at=key.expires_at)
    return ExchangedAnswer(
        access_token=issued.token.get_secret_value(),
        expires_in=issued.expires_in,
        api_key_id=key.id,
        user_id=key.user_id,
        scopes=list(key.scopes),
    )
