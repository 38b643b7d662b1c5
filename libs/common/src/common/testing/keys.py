"""Keys and tokens for tests: users' (as accounts would sign them) and services'."""

import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.auth.jwks import jwks_of
from common.auth.key_source import StaticKeys
from common.auth.keys import private_key_text, public_key_text
from common.auth.service_tokens import ServiceTokenSigner, ServiceTokenVerifier
from common.auth.user_tokens import UserTokenVerifier
from common.ids import uuid7

ISSUER = "cuepost"
AUDIENCE = "cuepost-api"
SERVICES = ("gateway", "accounts", "scheduler", "publisher", "analytics")


class UserKeys:
    """A signing key like the one of accounts; makes user tokens, good and bad."""

    def __init__(self, kid: str = "test-key", *, issuer: str = ISSUER, audience: str = AUDIENCE) -> None:
        self.kid = kid
        self.issuer = issuer
        self.audience = audience
        self.private_key = Ed25519PrivateKey.generate()
        self.public_key = self.private_key.public_key()

    def token(
        self,
        user_id: UUID | str | None = None,
        *,
        session_id: str | None = "test-session",
        api_key_id: str | None = None,
        scopes: Iterable[str] | None = None,
        expires_in: int = 3600,
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a signed token of a user (a new one unless given); `claims` override or, when None, remove single claims."""
        now = int(time.time())
        payload: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id or uuid7()),
            "sid": None if api_key_id else session_id,
            "akid": api_key_id,
            "scope": None if scopes is None else " ".join(scopes),
            "iat": now,
            "exp": now + expires_in,
            "jti": str(uuid7()),
        } | claims
        present = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode(present, self.private_key, algorithm="EdDSA", headers={"kid": self.kid, **(headers or {})})

    def authorization(self, user_id: UUID | str | None = None, **arguments: Any) -> dict[str, str]:
        """Return the request headers with a token of `token(...)`."""
        return {"Authorization": f"Bearer {self.token(user_id, **arguments)}"}

    def jwks(self) -> dict[str, Any]:
        """Return the key set accounts would publish."""
        return jwks_of({self.kid: self.public_key})

    def verifier(self) -> UserTokenVerifier:
        """Return a verifier that knows this key without asking anybody."""
        return UserTokenVerifier(StaticKeys({self.kid: self.public_key}), issuer=self.issuer, audience=self.audience)


class ServiceKeys:
    """A key pair for each service, as the local stack makes them once."""

    def __init__(self, services: Iterable[str] = SERVICES) -> None:
        self._private = {name: Ed25519PrivateKey.generate() for name in services}

    def signer(self, service: str) -> ServiceTokenSigner:
        """Return what `service` signs its calls with."""
        return ServiceTokenSigner(service, self._private[service])

    def verifier(self, service: str) -> ServiceTokenVerifier:
        """Return what `service` checks its callers with."""
        return ServiceTokenVerifier(service, {name: key.public_key() for name, key in self._private.items()})

    def authorization(self, caller: str, audience: str) -> dict[str, str]:
        """Return the request headers of a call from one service to another."""
        return {"Authorization": f"Bearer {self.signer(caller).token(audience)}"}

    def private_text(self, service: str) -> str:
        """Return the value of SERVICE_PRIVATE_KEY of a service."""
        return private_key_text(self._private[service])

    def public_texts(self) -> dict[str, str]:
        """Return the object of SERVICE_PUBLIC_KEYS."""
        return {name: public_key_text(key.public_key()) for name, key in self._private.items()}
