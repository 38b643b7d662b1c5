"""Shapes of logins and API keys."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Scope = Literal["posts:read", "posts:write", "media:write", "accounts:read", "accounts:write", "analytics:read", "audit:read"]


class Registration(BaseModel):
    """A new user."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(examples=["ada@example.com"])
    username: str = Field(min_length=3, max_length=50, description="Counted in NFKC; need not be unique.")
    password: str = Field(min_length=8, max_length=1024, json_schema_extra={"format": "password"})
    timezone: str = Field(default="UTC", description="IANA time zone", examples=["Europe/Berlin"])


class Login(BaseModel):
    """Email and password."""

    model_config = ConfigDict(extra="forbid")

    email: str
    password: str = Field(json_schema_extra={"format": "password"})


class PasswordChange(BaseModel):
    """The current password and the one that is to be."""

    model_config = ConfigDict(extra="forbid")

    current_password: str = Field(json_schema_extra={"format": "password"})
    new_password: str = Field(min_length=8, max_length=1024, json_schema_extra={"format": "password"})
    revoke_api_keys: bool = Field(default=False, description="Whether all of the user's API keys are to end as well.")


class Refresh(BaseModel):
    """The refresh token of the session; it is replaced by the answer. When that got lost, send it again within 30 seconds."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: str


class Tokens(BaseModel):
    """A session's tokens; `expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"]
    expires_in: int


class User(BaseModel):
    """The user behind the token."""

    id: UUID
    email: str
    username: str
    timezone: str
    created_at: datetime


class NewApiKey(BaseModel):
    """An API key to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(min_length=1)
    expires_at: datetime | None = None


class ApiKey(BaseModel):
    """An API key without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = Field(
        default=None,
        description="When it was last used, up to six minutes late: a gateway asks about a key it knows only every five.",
    )


class CreatedApiKey(ApiKey):
    """An API key with its secret, which is shown this once."""

    key: str = Field(examples=["cpk_..."])


class AuthorizationUrl(BaseModel):
    """Where the creator allows Cuepost to publish."""

    auth_url: str
    state: str


class ConnectWarning(BaseModel):
    """What the account cannot be used for; `scope` is TikTok's right that was not granted."""

    code: Literal["scope_not_granted"]
    scope: str
    message: str


class Connected(BaseModel):
    """The TikTok account is connected."""

    success: Literal[True]
    account_id: UUID
    warnings: list[ConnectWarning] = Field(
        default=[],
        description="Left out when all of posting works: rights without which a mode of posting (`direct` or `inbox`) does not.",
    )
