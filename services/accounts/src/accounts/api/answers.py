"""What responses show."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from accounts.domain.api_key import ApiKey
from accounts.domain.user import User
from accounts.security.user_jwts import IssuedToken
from accounts.usecases.create_api_key import NewApiKey
from accounts.usecases.open_session import OpenSession


class TokensAnswer(BaseModel):
    """A session's tokens; `expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of token, not one
    expires_in: int

    @classmethod
    def of(cls, session: OpenSession, issued: IssuedToken) -> "TokensAnswer":
        """Show the secrets: this is the one time."""
        return cls(
            access_token=issued.token.get_secret_value(),
            refresh_token=session.refresh_token.get_secret_value(),
            expires_in=issued.expires_in,
        )


class UserAnswer(BaseModel):
    """A person."""

    id: UUID
    email: str
    username: str
    timezone: str
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> "UserAnswer":
        """Show a person."""
        return cls(id=user.id, email=user.email, username=user.username, timezone=user.timezone, created_at=user.created_at)


class ApiKeyAnswer(BaseModel):
    """A key without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> "ApiKeyAnswer":
        """Show a key."""
        return cls(
            id=key.id,
            name=key.name,
            prefix=key.prefix,
            scopes=list(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
        )


class NewApiKeyAnswer(ApiKeyAnswer):
    """A key with its secret."""

    key: str

    @classmethod
    def of_new(cls, made: NewApiKey) -> "NewApiKeyAnswer":
        """Show the secret: this is the one time."""
        return cls(**ApiKeyAnswer.of(made.key).model_dump(), key=made.secret.get_secret_value())
