"""Login Kit: the authorize address, PKCE as TikTok wants it, and the token endpoint."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from tiktok._http import flat_answer_of, malformed, send

_VERIFIER_BYTES: Final = 48
_LONGEST_LIFE: Final = 10 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class PkcePair:
    """A PKCE verifier (secret, 64 characters) and its challenge."""

    verifier: SecretStr
    challenge: str


class RefreshedGrant(BaseModel):
    """What a refresh gave. Both lifetimes are the remaining ones, in seconds from the answer.

    ``scopes`` is what the creator granted, which may be less than what was asked for. Persist a rotated
    ``refresh_token`` before using anything of the grant: the previous one is dead. So whatever is known from the grant
    before may be absent: a pair without it is good all the same.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    refresh_token: SecretStr = Field(min_length=1)
    expires_in: int
    refresh_expires_in: int | None = None
    open_id: str | None = None
    scopes: tuple[str, ...]

    @field_validator("expires_in", "refresh_expires_in")
    @classmethod
    def _within_reason(cls, seconds: int | None) -> int | None:
        """Keep a life within 0 and ten years: whoever adds it to a date must not overflow."""
        return None if seconds is None else min(max(seconds, 0), _LONGEST_LIFE)

    @field_validator("refresh_expires_in", "open_id", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("scopes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_scopes(value) if isinstance(value, str) else value

    def completed(self, *, refresh_expires_in: float, open_id: str) -> "TokenGrant":
        """Return the whole grant; what TikTok left out is as given, which is what was known before."""
        known = int(refresh_expires_in) if self.refresh_expires_in is None else self.refresh_expires_in
        return TokenGrant(
            access_token=self.access_token,
            refresh_token=self.refresh_token,
            expires_in=self.expires_in,
            refresh_expires_in=known,
            open_id=open_id if self.open_id is None else self.open_id,
            scopes=self.scopes,
        )


class TokenGrant(RefreshedGrant):
    """What an authorization code gave: nothing is known before, so nothing may be absent."""

    refresh_expires_in: int
    open_id: str


_Given = TypeVar("_Given", bound=RefreshedGrant)


def split_scopes(value: str) -> tuple[str, ...]:
    """Return the scopes of a comma separated list, in order, without blanks."""
    return tuple(scope for part in value.split(",") if (scope := part.strip()))


def pkce_challenge(verifier: str) -> str:
    """Return TikTok's S256 challenge: the lowercase hex SHA-256 of the verifier, not base64url as elsewhere."""
    return hashlib.sha256(verifier.encode("ascii")).hexdigest()


def pkce_pair() -> PkcePair:
    """Return a fresh random verifier with its challenge."""
    verifier = secrets.token_urlsafe(_VERIFIER_BYTES)
    return PkcePair(SecretStr(verifier), pkce_challenge(verifier))


def authorize_url(
    base_url: str,
    *,
    client_key: str,
    redirect_uri: str,
    scopes: Iterable[str],
    state: str,
    code_challenge: str | None,
    disable_auto_auth: bool = True,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Return the address a creator's browser has to open.

    ``base_url`` is the whole authorize address, as ``https://www.tiktok.com/v2/auth/authorize/``.
    ``disable_auto_auth`` makes TikTok always ask, so that a second account can be connected.
    """
    query = {
        "client_key": client_key,
        "response_type": "code",
        "scope": ",".join(scopes),
        "redirect_uri": redirect_uri,
        "state": state,
        "disable_auto_auth": "1" if disable_auto_auth else "0",
    }
    if code_challenge is not None:
        query |= {"code_challenge": code_challenge, "code_challenge_method": "S256"}
    query |= dict(extra or {})
    return f"{base_url}{'&' if '?' in base_url else '?'}{urlencode(query)}"


class OAuthClient:
    """The token and revoke endpoints for one app.

    Every method raises a TikTokError: GrantInvalid when the code or refresh token is no longer good, TikTokRefused for
    other refusals, TikTokUnavailable without a verdict. A refresh with ``sent`` true may have rotated the token.
    """

    def __init__(self, http: httpx.AsyncClient, api_url: str, client_key: str, client_secret: SecretStr) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")
        self._client_key = client_key
        self._client_secret = client_secret

    async def exchange_code(
        self, code: SecretStr | str, *, redirect_uri: str, code_verifier: SecretStr | None = None
    ) -> TokenGrant:
        """Exchange the callback's (already URL-decoded) code; ``redirect_uri`` as it was in the authorize address."""
        form = {
            "grant_type": "authorization_code",
            "code": code if isinstance(code, str) else code.get_secret_value(),
            "redirect_uri": redirect_uri,
        }
        if code_verifier is not None:
            form["code_verifier"] = code_verifier.get_secret_value()
        return await self._grant(TokenGrant, form)

    async def refresh(self, refresh_token: SecretStr) -> RefreshedGrant:
        """Exchange a refresh token for a new pair; the given one stops working. One at a time per account."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.get_secret_value()}
        return await self._grant(RefreshedGrant, form)

    async def revoke(self, access_token: SecretStr) -> None:
        """Disconnect the app for the token's user; the refresh token dies too."""
        flat_answer_of(await self._post("/v2/oauth/revoke/", {"token": access_token.get_secret_value()}))

    async def _grant(self, kind: type[_Given], form: Mapping[str, str]) -> _Given:
        response = await self._post("/v2/oauth/token/", form)
        answer = flat_answer_of(response)
        try:
            return kind.model_validate({**answer, "scopes": answer.get("scope", "")})
        except ValidationError as error:
            missing = ", ".join(str(item["loc"][0]) for item in error.errors(include_input=False))
            raise malformed(response, missing) from None

    async def _post(self, path: str, form: Mapping[str, str]) -> httpx.Response:
        app = {"client_key": self._client_key, "client_secret": self._client_secret.get_secret_value()}
        return await send(self._http, "POST", self._api_url + path, form={**app, **form})
