"""Shapes of TikTok accounts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel


class Account(BaseModel):
    """A connected TikTok account as in lists."""

    id: UUID
    username: str
    display_name: str
    avatar_url: str | None = None
    status: Literal["active", "inactive", "expired"]
    follower_count: int
    following_count: int
    likes_count: int
    video_count: int
    last_synced_at: datetime | None = None
    created_at: datetime


class AccountDetail(Account):
    """A connected TikTok account with what lists leave out."""

    tiktok_user_id: str
    token_expires_at: datetime | None = None
    scopes: list[str]
    last_error: str | None = None
    updated_at: datetime


class CreatorInfo(BaseModel):
    """What the creator may post now, as TikTok says it."""

    account_id: UUID
    creator_username: str
    creator_nickname: str
    creator_avatar_url: str | None = None
    privacy_level_options: list[str]
    comment_disabled: bool
    duet_disabled: bool
    stitch_disabled: bool
    max_video_post_duration_sec: int
    fetched_at: datetime
