"""Verification of user JWTs: EdDSA only, issuer and audience checked, keys from the JWKS of accounts."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.auth.claims import UserClaims
from common.auth.jwks import JWKS_PATH
from common.auth.key_source import KeySource, RemoteKeys
from common.auth.service_tokens import ALGORITHM, MAX_TOKEN_CHARS, refused
from common.errors import Problem, Transient

REQUIRED_CLAIMS = ["iss", "aud", "exp", "iat", "sub"]
MAX_VERIFIED_TOKENS = 10_000
MAX_KID_CHARS = 128
LEEWAY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token that was good: the `kid` of its key, the claims, and their end in seconds since 1970."""

    kid: str
    until: float
    claims: UserClaims


class UserTokenVerifier:
    """Turns a bearer token into UserClaims; a verified token is remembered (by its hash) until it expires or its key is gone.

    A component: `start` begins to fetch the keys, `healthy` tells whether there are any.
    """

    def __init__(self, keys: KeySource, *, issuer: str, audience: str, max_verified: int = MAX_VERIFIED_TOKENS) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._max_verified = max_verified
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    @classmethod
    def for_accounts(cls, accounts_url: str, client: httpx.AsyncClient, *, issuer: str, audience: str) -> "UserTokenVerifier":
        """Return a verifier that fetches the keys from `<accounts_url>/.well-known/jwks.json`."""
        return cls(RemoteKeys(accounts_url.rstrip("/") + JWKS_PATH, client), issuer=issuer, audience=audience)

    async def start(self) -> None:
        """Begin to keep the keys fresh."""
        await self._keys.start()

    async def stop(self) -> None:
        """Stop keeping the keys fresh."""
        await self._keys.stop()

    def healthy(self) -> str | None:
        """None when tokens can be verified, else the reason."""
        return self._keys.healthy()

    async def verify(self, token: str) -> UserClaims:
        """Return the claims of a good token.

        Raises Problem 401 `invalid_token` or `token_expired`, and 503 `authentication_unavailable` when the token's key is
        unknown while the keys cannot be fetched.
        """
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.pop(digest, None)
        if known is None or time.time() >= known.until or await self._key(known.kid) is None:
            known = await self._verify(token)
        self._verified[digest] = known
        if len(self._verified) > self._max_verified:
            self._verified.popitem(last=False)
        return known.claims

    async def _verify(self, token: str) -> _Verified:
        kid = _kid_of(token)
        key = await self._key(kid)
        if key is None:
            raise refused("invalid_token", "The access token was signed with an unknown key.")
        claims = self._decode(token, key)
        return _Verified(kid, claims.expires_at.timestamp(), claims)

    async def _key(self, kid: str) -> Ed25519PublicKey | None:
        try:
            return await self._keys.find(kid)
        except Transient as error:
            raise Problem(
                503,
                "authentication_unavailable",
                "Tokens cannot be checked at the moment.",
                hint="Try again in a few seconds.",
                headers={"Retry-After": str(int(error.retry_after or 1))},
            ) from error

    def _decode(self, token: str, key: Ed25519PublicKey) -> UserClaims:
        try:
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": REQUIRED_CLAIMS, "strict_aud": True},
            )
            return _claims(payload)
        except jwt.ExpiredSignatureError:
            raise refused("token_expired", "The access token has expired.") from None
        except (jwt.PyJWTError, ValueError, OverflowError):
            raise refused("invalid_token", "The access token is not valid here.") from None


def _kid_of(token: str) -> str:
    if len(token) > MAX_TOKEN_CHARS:
        raise refused("invalid_token", "The access token is malformed.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise refused("invalid_token", "The access token is malformed.") from None
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(kid, str) or len(kid) > MAX_KID_CHARS:
        raise refused("invalid_token", "The access token is not one of this system.")
    return kid


def _claims(payload: dict[str, Any]) -> UserClaims:
    scope, session_id, api_key_id = (_text(payload, name) for name in ("scope", "sid", "akid"))
    # Without this, a key's token that lost its scope would have every right, and one of nobody could not be revoked.
    if (session_id is None) is (api_key_id is None) or (scope is None) is (session_id is None):
        raise ValueError("neither a session's token nor a key's")
    return UserClaims(
        user_id=UUID(payload["sub"]),
        session_id=session_id,
        api_key_id=api_key_id,
        scopes=None if scope is None else frozenset(scope.split()),
        issued_at=datetime.fromtimestamp(payload["iat"], UTC),
        expires_at=datetime.fromtimestamp(payload["exp"], UTC),
        token_id=_text(payload, "jti"),
    )


def _text(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    return value
