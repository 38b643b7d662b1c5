"""Events and commands of the accounts service. No secret ever travels in them."""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from common.contracts.message import Command, Event

AccountStatus = Literal["active", "inactive", "expired"]
SYNC_MAX = 100
"""How many accounts one `SyncAccounts` names at most."""


class UserRegistered(Event):
    """A person registered."""

    KEY: ClassVar[str] = "accounts.user.registered.v1"
    user_id: UUID
    username: str
    timezone: str


class PasswordChanged(Event):
    """A person changed their password: all their sessions were revoked and a new one was opened, of which events tell one by one.

    So they do of each API key, when those were to be revoked as well.
    """

    KEY: ClassVar[str] = "accounts.user.password_changed.v1"
    user_id: UUID
    sessions_revoked: int
    api_keys_revoked: int


class SessionStarted(Event):
    """A registration, a login or another password opened a session."""

    KEY: ClassVar[str] = "accounts.session.started.v1"
    session_id: UUID
    user_id: UUID
    expires_at: datetime


class SessionRevoked(Event):
    """A session ended before its time; its tokens are refused from now on."""

    KEY: ClassVar[str] = "accounts.session.revoked.v1"
    session_id: UUID
    user_id: UUID
    reason: Literal["logout", "refresh_token_reused", "password_changed"]
    tokens_expire_at: datetime


class RefreshRefused(Event):
    """Refresh tokens were refused: unknown (then nothing names the session), or of a session that is expired or revoked.

    Emitted at most once a minute for each address and session; `times` counts the refusals since the last one was told of. A used
    token that comes back is told of by `accounts.session.revoked.v1`, once.
    """

    KEY: ClassVar[str] = "accounts.session.refresh_refused.v1"
    session_id: UUID | None
    user_id: UUID | None
    reason: Literal["unknown", "expired", "revoked"]
    times: int = Field(ge=1)


class LoginFailed(Event):
    """A login was refused; `user_id` is null for an unknown email. The email itself is not carried.

    One for each wrong password, also for one that was sent to change it (`wrong_current_password`). Attempts that come too
    early (`too_many_attempts`) are told of at most once a minute for each address and person, unknown ones together; `times`
    counts the refusals since the last one was told of.
    """

    KEY: ClassVar[str] = "accounts.login.failed.v1"
    user_id: UUID | None
    reason: str
    times: int = Field(default=1, ge=1)


class ApiKeyCreated(Event):
    """An API key was made; only its prefix is ever shown again."""

    KEY: ClassVar[str] = "accounts.api_key.created.v1"
    api_key_id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None


class ApiKeyUsed(Event):
    """An API key was used; emitted at most hourly for each key and address (IPv6: /64), which is that of the envelope.

    With `reason` `many_addresses`, also at most hourly: it is used from more addresses than are told of one by one.
    """

    KEY: ClassVar[str] = "accounts.api_key.used.v1"
    api_key_id: UUID
    user_id: UUID
    reason: Literal["many_addresses"] | None = None


class ApiKeyRevoked(Event):
    """An API key was revoked; it is refused from now on."""

    KEY: ClassVar[str] = "accounts.api_key.revoked.v1"
    api_key_id: UUID
    user_id: UUID


class ApiKeyRefused(Event):
    """Requests with an API key were refused: it is unknown (then nothing names it), expired or revoked.

    Emitted at most once a minute for each address and key; `times` counts the refusals since the last one was told of.
    """

    KEY: ClassVar[str] = "accounts.api_key.refused.v1"
    api_key_id: UUID | None
    user_id: UUID | None
    reason: Literal["unknown", "expired", "revoked"]
    times: int = Field(ge=1)


class ConnectFailed(Event):
    """A TikTok account was not connected: denied, failed or refused; `user_id` is null when it is not known who began.

    Those without a user are emitted at most once a minute for each address; `times` counts since the last one was told of.
    """

    KEY: ClassVar[str] = "accounts.connect.failed.v1"
    user_id: UUID | None
    reason: str
    times: int = Field(default=1, ge=1)


class SyncFailed(Event):
    """Profile and counters of an account were to be read from TikTok, and were not; nothing changed."""

    KEY: ClassVar[str] = "accounts.sync.failed.v1"
    account_id: UUID
    user_id: UUID
    reason: str


class AccountEvent(Event):
    """What every account event carries: the account as it is after the event (`sequence` is its version)."""

    account_id: UUID
    user_id: UUID
    tiktok_user_id: str
    username: str
    display_name: str
    status: AccountStatus
    scopes: list[str]
    follower_count: int = 0
    following_count: int = 0
    likes_count: int = 0
    video_count: int = 0


class AccountConnected(AccountEvent):
    """A TikTok account was connected, or connected again."""

    KEY: ClassVar[str] = "accounts.account.connected.v1"
    reconnected: bool


class AccountUpdated(AccountEvent):
    """Its owner paused or resumed it, it lives after all, or its creator changed what it may be used for.

    `changes` maps `status` and `scopes` to their old and new value, whichever changed.
    """

    KEY: ClassVar[str] = "accounts.account.updated.v1"
    changes: dict[str, Any] = {}


class AccountSynced(AccountEvent):
    """Profile and counters were read from TikTok."""

    KEY: ClassVar[str] = "accounts.account.synced.v1"
    synced_at: datetime


class AccountExpired(AccountEvent):
    """TikTok's grant is gone; the account must be connected again."""

    KEY: ClassVar[str] = "accounts.account.expired.v1"
    reason: str


class AccountDisconnected(AccountEvent):
    """Its owner removed it; its waiting posts are cancelled."""

    KEY: ClassVar[str] = "accounts.account.disconnected.v1"


class UpdateAccount(Command):
    """PATCH `/accounts/{id}`: pause (`inactive`) or resume (`active`) an account."""

    KEY: ClassVar[str] = "accounts.update_account.v1"
    account_id: UUID
    status: Literal["active", "inactive"]


class DisconnectAccount(Command):
    """DELETE `/accounts/{id}`."""

    KEY: ClassVar[str] = "accounts.disconnect_account.v1"
    account_id: UUID


class SyncAccount(Command):
    """POST `/accounts/{id}/sync`: read profile and counters from TikTok."""

    KEY: ClassVar[str] = "accounts.sync_account.v1"
    account_id: UUID


class SyncAccounts(Command):
    """POST `/accounts/batch/sync`: the same for up to 100 accounts, each with a result of its own."""

    KEY: ClassVar[str] = "accounts.sync_accounts.v1"
    account_ids: list[UUID] = Field(min_length=1, max_length=SYNC_MAX)
