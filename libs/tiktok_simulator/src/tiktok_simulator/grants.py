"""Authorization codes, access tokens and refresh tokens: issued, rotated, expired, revoked."""

from collections.abc import Iterable

from pydantic import BaseModel

from tiktok_simulator import identifiers
from tiktok_simulator.clock import Clock
from tiktok_simulator.journal import Journal, Table
from tiktok_simulator.settings import Settings

CODE_SECONDS = 600.0


class AuthorizationCode(BaseModel):
    """A code from the authorize page: single use, ten minutes."""

    code: str
    open_id: str
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str | None
    expires_at: float


class AccessToken(BaseModel):
    """An access token of a grant."""

    token: str
    open_id: str
    scopes: tuple[str, ...]
    expires_at: float


class RefreshToken(BaseModel):
    """A refresh token; once rotated it is dead (after the grace time, which is normally none)."""

    token: str
    open_id: str
    scopes: tuple[str, ...]
    expires_at: float
    rotated_at: float | None = None


class IssuedTokens(BaseModel):
    """A fresh pair with the remaining lifetimes in seconds."""

    access: AccessToken
    refresh: RefreshToken
    expires_in: int
    refresh_expires_in: int


class Grants:
    """Everything creators granted to the app."""

    def __init__(self, journal: Journal, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._settings = settings
        self._codes = Table(journal, "codes", AuthorizationCode)
        self._access = Table(journal, "access_tokens", AccessToken)
        self._refresh = Table(journal, "refresh_tokens", RefreshToken)

    def new_code(self, open_id: str, scopes: Iterable[str], redirect_uri: str, challenge: str | None) -> AuthorizationCode:
        """Issue a code for the callback."""
        code = AuthorizationCode(
            code=identifiers.authorization_code(),
            open_id=open_id,
            scopes=tuple(scopes),
            redirect_uri=redirect_uri,
            challenge=challenge,
            expires_at=self._clock.now() + CODE_SECONDS,
        )
        self._codes.put(code.code, code)
        return code

    def code(self, code: str) -> AuthorizationCode | None:
        """Return a code that is still good, without using it."""
        found = self._codes.get(code)
        return found if found is not None and found.expires_at > self._clock.now() else None

    def use_code(self, code: AuthorizationCode) -> None:
        """Use the code up."""
        self._codes.delete(code.code)

    def issue(self, open_id: str, scopes: tuple[str, ...]) -> IssuedTokens:
        """Issue a new pair of tokens."""
        at = self._clock.now()
        access = AccessToken(
            token=identifiers.access_token(),
            open_id=open_id,
            scopes=scopes,
            expires_at=at + self._settings.access_token_seconds,
        )
        refresh = RefreshToken(
            token=identifiers.refresh_token(),
            open_id=open_id,
            scopes=scopes,
            expires_at=at + self._settings.refresh_token_seconds,
        )
        self._access.put(access.token, access)
        self._refresh.put(refresh.token, refresh)
        return IssuedTokens(
            access=access,
            refresh=refresh,
            expires_in=self._settings.access_token_seconds,
            refresh_expires_in=self._settings.refresh_token_seconds,
        )

    def rotate(self, token: str) -> IssuedTokens | None:
        """Exchange a refresh token for a new pair; None when it is unknown, expired or already rotated."""
        at = self._clock.now()
        found = self._refresh.get(token)
        if found is None or found.expires_at <= at:
            return None
        if found.rotated_at is not None and at - found.rotated_at >= self._settings.refresh_grace_seconds:
            return None
        if found.rotated_at is None:
            self._refresh.put(token, found.model_copy(update={"rotated_at": at}))
        for old in self._access:
            if old.open_id == found.open_id and old.expires_at <= at:
                self._access.delete(old.token)
        return self.issue(found.open_id, found.scopes)

    def access(self, token: str) -> AccessToken | None:
        """Return the access token while it is good."""
        found = self._access.get(token)
        return found if found is not None and found.expires_at > self._clock.now() else None

    def owner_of(self, token: str) -> str | None:
        """Return the open id behind any token or code, good or not."""
        found = self._access.get(token) or self._refresh.get(token) or self._codes.get(token)
        return found.open_id if found is not None else None

    def connected(self, open_id: str) -> bool:
        """Return whether the creator has a grant that was not revoked."""
        return any(token.open_id == open_id and token.rotated_at is None for token in self._refresh)

    def revoke(self, open_id: str) -> None:
        """Disconnect the app for a creator: all tokens and codes die."""
        for access in self._access:
            if access.open_id == open_id:
                self._access.delete(access.token)
        for refresh in self._refresh:
            if refresh.open_id == open_id:
                self._refresh.delete(refresh.token)
        for code in self._codes:
            if code.open_id == open_id:
                self._codes.delete(code.code)

    def reset(self) -> None:
        """Forget all grants."""
        for table in (self._codes, self._access, self._refresh):
            table.clear()
