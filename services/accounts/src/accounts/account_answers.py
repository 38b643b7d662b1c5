"""How accounts are shown, by routes and in replies to commands."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from accounts.domain.account import Account


class AccountAnswer(BaseModel):
    """An account as in lists."""

    id: UUID
    username: str
    display_name: str
    avatar_url: str | None
    status: str
    follower_count: int
    following_count: int
    likes_count: int
    video_count: int
    last_synced_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> "AccountAnswer":
        """Show an account in a list."""
        return cls(
            id=account.id,
            username=account.username,
            display_name=account.display_name,
            avatar_url=account.avatar_url,
            status=account.status.value,
            follower_count=account.follower_count,
            following_count=account.following_count,
            likes_count=account.likes_count,
            video_count=account.video_count,
            last_synced_at=account.last_synced_at,
            created_at=account.created_at,
        )


class AccountDetailAnswer(AccountAnswer):
    """An account by itself."""

    tiktok_user_id: str
    token_expires_at: datetime | None
    scopes: list[str]
    last_error: str | None
    updated_at: datetime

    @classmethod
    def of(cls, account: Account) -> "AccountDetailAnswer":
        """Show an account with everything its owner may see."""
        return cls(
            **AccountAnswer.of(account).model_dump(),
            tiktok_user_id=account.open_id,
            token_expires_at=account.token_expires_at,
            scopes=list(account.scopes),
            last_error=account.last_error,
            updated_at=account.updated_at,
        )


class ServiceAccountAnswer(AccountDetailAnswer):
    """An account as another service keeps it: with its owner, and the version that account events carry as `sequence`.

    After `grant_expires_at` no token can be had any more unless the account is used, or connected again, before.
    """

    user_id: UUID
    version: int
    grant_expires_at: datetime | None

    @classmethod
    def of(cls, account: Account) -> "ServiceAccountAnswer":
        """Show an account to a service."""
        return cls(
            **AccountDetailAnswer.of(account).model_dump(),
            user_id=account.user_id,
            version=account.version,
            grant_expires_at=account.grant_expires_at,
        )
