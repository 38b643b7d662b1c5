"""A TikTok account as its owner sees it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class AccountStatus(StrEnum):
    """Active; paused by its owner (`inactive`); or to be connected again (`expired`), paused or not."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Account:
    """One connected TikTok account. `version` grows with each change; `open_id` is TikTok's id of the creator for this app.

    `token_expires_at` is when its access token ends, which is refreshed by itself until `grant_expires_at`.
    """

    id: UUID
    user_id: UUID
    open_id: str
    username: str
    display_name: str
    avatar_url: str | None
    status: AccountStatus
    scopes: tuple[str, ...]
    follower_count: int
    following_count: int
    likes_count: int
    video_count: int
    token_expires_at: datetime | None
    last_synced_at: datetime | None
    last_error: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    grant_expires_at: datetime | None = None
