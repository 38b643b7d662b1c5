"""Who is calling: a bearer token becomes verified claims and the token that is passed on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.auth.claims import UserClaims
from common.auth.service_tokens import refused
from common.auth.user_tokens import UserTokenVerifier
from common.errors import Problem
from gateway.security.api_keys import ApiKeyTokens, invalid_api_key, looks_like_api_key
from gateway.security.revocations import RevokedSet


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified user: the claims, and the user JWT that services are shown (for an API key: the exchanged one)."""

    claims: UserClaims
    token: str = field(repr=False)


class SessionRevoked(Problem):
    """401 `session_revoked`; `claims` are those of the token, which is otherwise good."""

    def __init__(self, claims: UserClaims) -> None:
        told = refused("session_revoked", "The session of this token was revoked.")
        super().__init__(told.status, told.code, told.detail, headers=told.headers)
        self.claims = claims


class Authenticator:
    """Verifies tokens at the edge; refuses everyone while revocations are not known."""

    def __init__(self, tokens: UserTokenVerifier, api_keys: ApiKeyTokens, revoked: RevokedSet) -> None:
        self._tokens = tokens
        self._api_keys = api_keys
        self._revoked = revoked

    def would_ask(self, bearer: str, address: str) -> bool:
        """Return whether a request from `address` has accounts be asked about a credential that was never good here."""
        return looks_like_api_key(bearer) and not self._api_keys.knows(bearer, address)

    async def authenticate(self, bearer: str, headers: Mapping[str, str]) -> Caller:
        """Return who sent a bearer token.

        `headers` are passed on when accounts has to be asked. Raises Problem 401 (`invalid_token`, `token_expired`,
        `session_revoked`, `invalid_api_key`), 503 `authentication_unavailable`, or Transient while accounts is away.
        """
        if not self._revoked.fresh:
            raise _revocations_unknown()
        if looks_like_api_key(bearer):
            token, claims = await self._of_key(bearer, headers)
        else:
            token, claims = bearer, await self._tokens.verify(bearer)
        if claims.api_key_id in self._revoked:
            raise invalid_api_key()
        if claims.session_id in self._revoked:
            raise SessionRevoked(claims)
        return Caller(claims, token)

    async def _of_key(self, key: str, headers: Mapping[str, str]) -> tuple[str, UserClaims]:
        """Return a token with the key's rights and what it says."""
        token = await self._api_keys.token_of(key, headers)
        try:
            return token, await self._tokens.verify(token)
        except Problem as problem:
            if problem.code != "invalid_token":
                raise
        # The key that signed it has been ended since: the API key is as good as before.
        self._api_keys.drop(key, token)
        token = await self._api_keys.token_of(key, headers)
        return token, await self._tokens.verify(token)


def _revocations_unknown() -> Problem:
    return Problem(
        503,
        "authentication_unavailable",
        "Tokens cannot be checked at the moment.",
        hint="Try again in a few seconds.",
        headers={"Retry-After": "2"},
    )
