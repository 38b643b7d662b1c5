"""Shapes of TikTok accounts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from common.contracts.accounts import SYNC_MAX


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


class AccountChange(BaseModel):
    """`inactive` pauses the account: its posts wait; `active` lets them go on."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["active", "inactive"]


class AccountIds(BaseModel):
    """Which accounts to read from TikTok; one that is named twice is read once."""

    model_config = ConfigDict(extra="forbid")

    account_ids: list[UUID] = Field(min_length=1, max_length=SYNC_MAX)


class SyncedAccount(BaseModel):
    """An account's counters as TikTok told them at `synced_at`."""

    success: Literal[True]
    synced_at: datetime
    follower_count: int
    following_count: int
    video_count: int
    message: str


class FailedSync(BaseModel):
    """Why one account could not be read; `code` is for programs, `error` for people."""

    id: UUID
    code: str
    error: str


class SyncedAccounts(BaseModel):
    """What became of each account of a batch; `total` counts the different ones."""

    success: list[UUID]
    failed: list[FailedSync]
    total: int


class AccountSummary(BaseModel):
    """All connected accounts of the user together."""

    total_accounts: int
    active_accounts: int
    total_followers: int
    total_videos: int
