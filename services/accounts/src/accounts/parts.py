"""The wired parts of the service that its routes use."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from accounts.access_tokens import AccessTokens
from accounts.clients.profiles import ProfileReader
from accounts.creator_infos import CreatorInfos
from accounts.login_turns import LoginTurns
from accounts.security.key_store import KeyStore
from accounts.security.passwords import Passwords
from accounts.security.user_jwts import UserJwts
from accounts.security.vault import Vault
from accounts.settings import Settings
from accounts.usecases.login import LoginLimits
from common.database import Database
from common.messaging.outbox import Outbox
from common.messaging.relay import Relay
from tiktok.oauth import OAuthClient


@dataclass(frozen=True, slots=True)
class Parts:
    """Built once by the composition root."""

    settings: Settings
    database: Database
    outbox: Outbox
    relay: Relay
    vault: Vault
    keys: KeyStore
    jwts: UserJwts
    passwords: Passwords
    login_limits: LoginLimits
    login_turns: LoginTurns
    oauth: OAuthClient
    profiles: ProfileReader
    tokens: AccessTokens
    creator_infos: CreatorInfos
    refresh_planned: Callable[[], None]
    """To be called once a new grant was stored: its refresh may be the next one due."""

    @property
    def refresh_life(self) -> timedelta:
        """How long a session lives without being refreshed."""
        return timedelta(seconds=self.settings.refresh_token_ttl_seconds)
