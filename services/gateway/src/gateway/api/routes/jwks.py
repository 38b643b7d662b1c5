"""The public keys of user tokens, outside the versioned API."""

from fastapi import APIRouter, Request, Response

from gateway.api.documents import NO_AUTHENTICATION, problems
from gateway.api.forwarding import passed_on
from gateway.edge import edge_of

router = APIRouter(tags=["auth"])


@router.get("/.well-known/jwks.json", responses=problems(), openapi_extra=NO_AUTHENTICATION)
async def jwks(request: Request) -> Response:
    """Return the key set (RFC 7517) of accounts, at most a minute old."""
    return passed_on(await edge_of(request).accounts.jwks())
