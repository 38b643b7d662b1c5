"""Issuing of user JWTs: EdDSA, short claims, verified anywhere by the JWKS."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from pydantic import SecretStr

from accounts.security.key_store import KeyStore
from common.auth.service_tokens import ALGORITHM
from common.clock import utc_now
from common.ids import uuid7


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A signed token and its life in whole seconds."""

    token: SecretStr
    expires_in: int


class UserJwts:
    """Signs tokens for sessions and, shorter ones with scopes, for API keys."""

    def __init__(
        self, keys: KeyStore, *, issuer: str, audience: str, session_life: timedelta, api_key_life: timedelta
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self.session_life = session_life
        self.api_key_life = api_key_life

    def for_session(self, user_id: UUID, session_id: UUID) -> IssuedToken:
        """Return an access token of a logged-in person: every right."""
        return self._issue(user_id, self.session_life, {"sid": str(session_id)})

    def for_api_key(
        self, user_id: UUID, key_id: UUID, scopes: Iterable[str], *, key_expires_at: datetime | None
    ) -> IssuedToken:
        """Return an access token with the key's scopes that never outlives the key."""
        life = self.api_key_life
        if key_expires_at is not None:
            life = min(life, max(key_expires_at - utc_now(), timedelta(seconds=1)))
        return self._issue(user_id, life, {"akid": str(key_id), "scope": " ".join(scopes)})

    def _issue(self, user_id: UUID, life: timedelta, claims: dict[str, Any]) -> IssuedToken:
        key = self._keys.signing_key()
        now, seconds = int(utc_now().timestamp()), int(life.total_seconds())
        payload = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "iat": now,
            "exp": now + seconds,
            "jti": str(uuid7()),
            **claims,
        }
        token = jwt.encode(payload, key.private_key, algorithm=ALGORITHM, headers={"kid": key.kid})
        return IssuedToken(SecretStr(token), seconds)
