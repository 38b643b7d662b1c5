"""Short-lived JWTs by which services show each other who they are; one audience per target."""

import time
from collections.abc import Collection, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.auth.keys import private_key_from, public_keys_from
from common.errors import Problem
from common.ids import uuid7

ALGORITHM = "EdDSA"
LIFETIME_SECONDS = 60
RENEW_BEFORE_SECONDS = 20
LEEWAY_SECONDS = 5
MAX_TOKEN_CHARS = 4096
MAX_CACHED_TOKENS = 256


def refused(code: str, detail: str) -> Problem:
    """Return the 401 problem of a missing or bad token, with the `WWW-Authenticate` header RFC 6750 asks for."""
    challenge = "Bearer" if code == "unauthorized" else f'Bearer error="invalid_token", error_description="{detail}"'
    return Problem(401, code, detail, headers={"WWW-Authenticate": challenge})


class ServiceTokenSigner:
    """Makes this service's tokens; one per audience is reused until 20 s before it expires."""

    def __init__(self, service: str, private_key: Ed25519PrivateKey | str) -> None:
        self._service = service
        self._key = private_key_from(private_key) if isinstance(private_key, str) else private_key
        self._cache: dict[str, tuple[float, str]] = {}

    def token(self, audience: str) -> str:
        """Return a token for calls to the service `audience`, good for at least 20 s."""
        now = time.time()
        renew_at, token = self._cache.get(audience, (0.0, ""))
        if now < renew_at:
            return token
        token = jwt.encode(
            {"iss": self._service, "aud": audience, "iat": int(now), "exp": int(now) + LIFETIME_SECONDS, "jti": str(uuid7())},
            self._key,
            algorithm=ALGORITHM,
        )
        self._cache[audience] = (now + LIFETIME_SECONDS - RENEW_BEFORE_SECONDS, token)
        return token


class ServiceTokenVerifier:
    """Checks tokens of other services that are meant for this one."""

    def __init__(self, service: str, public_keys: Mapping[str, Ed25519PublicKey] | Mapping[str, str]) -> None:
        self._service = service
        texts = {name: key for name, key in public_keys.items() if isinstance(key, str)}
        keys = {name: key for name, key in public_keys.items() if isinstance(key, Ed25519PublicKey)}
        self._keys: dict[str, Ed25519PublicKey] = {**keys, **public_keys_from(texts)}
        self._verified: dict[str, tuple[float, str]] = {}

    def verify(self, token: str, *, allowed: Collection[str]) -> str:
        """Return the calling service's name.

        Raises Problem 401 (`invalid_token`, `token_expired`) for a token that is not good here and 403 `caller_not_allowed`
        when its service is not in `allowed`.
        """
        expires_at, caller = self._verified.get(token, (0.0, ""))
        if time.time() >= expires_at:
            expires_at, caller = self._check(token)
            if len(self._verified) >= MAX_CACHED_TOKENS:
                self._verified.clear()
            self._verified[token] = (expires_at, caller)
        if caller not in allowed:
            raise Problem(403, "caller_not_allowed", f"The service {caller!r} may not call this route.")
        return caller

    def _check(self, token: str) -> tuple[float, str]:
        if len(token) > MAX_TOKEN_CHARS:
            raise refused("invalid_token", "The service token is malformed.")
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            key = self._keys.get(issuer) if isinstance(issuer, str) else None
            if key is None:
                raise refused("invalid_token", "The service token's issuer is not known.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._service,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "iat", "exp"], "strict_aud": True},
            )
        except jwt.ExpiredSignatureError:
            raise refused("token_expired", "The service token has expired.") from None
        except (jwt.PyJWTError, ValueError):
            raise refused("invalid_token", "The service token is not valid here.") from None
        return float(claims["exp"]), str(claims["iss"])
