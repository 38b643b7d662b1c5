"""Settings of the accounts service; the only place that reads the environment."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from accounts.security.encryption_keys import fernet_keys, keys_of_file
from common.http.client import GATEWAY_PATIENCE_SECONDS
from common.settings import BaseUrl, DatabaseSettings, ServiceSettings
from tiktok.app_credentials import require_own_app

ACCESS_TOKEN_TTL_MAX = 604_800
API_KEY_TOKEN_TTL_MAX = 3600
REVOCATION_PATIENCE_MAX = GATEWAY_PATIENCE_SECONDS - 2.0
"""Whoever waits longer has been told by the gateway that accounts does not answer; what is left is for everything else."""
POSTING_SCOPES = "user.info.basic,video.publish"
ALL_SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.list,video.upload,video.publish"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _fernet_keys(secret: SecretStr) -> SecretStr:
    fernet_keys(secret)
    return secret


def _texts(keys: tuple[SecretStr, ...]) -> list[str]:
    return [key.get_secret_value() for key in keys]


class Settings(DatabaseSettings, ServiceSettings):
    """Everything that may differ between installations; names are the fields in capitals."""

    SERVICE: ClassVar[str] = "accounts"

    http_port: int = Field(default=8401, ge=0, le=65535)

    encryption_key: Annotated[SecretStr, AfterValidator(_fernet_keys)]
    encryption_key_file: Path | None = None
    access_token_ttl_seconds: int = Field(default=86_400, ge=60, le=ACCESS_TOKEN_TTL_MAX)
    refresh_token_ttl_seconds: int = Field(default=2_592_000, ge=300, le=31_536_000)
    refresh_grace_seconds: float = Field(default=30.0, ge=0, le=300)
    revocation_patience_seconds: float = Field(
        default=1.0, ge=0, le=REVOCATION_PATIENCE_MAX, description="how long an answer waits for the broker"
    )
    signing_key_overlap_seconds: int = Field(default=900, ge=0, le=86_400)
    api_key_token_ttl_seconds: int = Field(default=300, ge=30, le=API_KEY_TOKEN_TTL_MAX)

    argon2_time_cost: int = Field(default=2, ge=1, le=20)
    argon2_memory_kib: int = Field(default=19_456, ge=64, le=1_048_576)
    argon2_threads: int = Field(default=2, ge=1, le=32)
    login_free_failures: int = Field(default=5, ge=1, le=1000)
    login_free_failures_per_address: int = Field(default=20, ge=1, le=100_000)

    tiktok_client_key: str = Field(min_length=1)
    tiktok_client_secret: SecretStr = Field(min_length=1)
    tiktok_redirect_uri: str = Field(min_length=1, max_length=511)
    tiktok_api_url: BaseUrl = "https://open.tiktokapis.com"
    tiktok_authorize_url: str = "https://www.tiktok.com/v2/auth/authorize/"
    tiktok_scopes: str = ALL_SCOPES
    tiktok_required_scopes: str = POSTING_SCOPES
    reply_retention_days: int = Field(
        default=7, ge=1, le=365, description="as long as ids of commands; never below 7 days here"
    )
    oauth_state_ttl_seconds: int = Field(default=600, ge=30, le=3600)
    oauth_return_urls: str = ""
    oauth_require_browser: bool = False
    token_refresh_ahead_seconds: int = Field(default=600, ge=0, le=86_400)
    token_refresh_concurrency: int = Field(default=8, ge=1, le=100)
    creator_info_cache_seconds: float = Field(default=60.0, ge=0, le=600)
    disconnect_check_seconds: float = Field(default=15.0, ge=0.05, le=600)
    disconnect_patience_seconds: float = Field(default=600.0, ge=0, le=86_400)

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        """Refuse two sources that differ: the file is followed while the service runs, so its keys have to be those."""
        path = self.encryption_key_file
        if path is not None and _texts(keys_of_file(path)) != _texts(self.encryption_keys):
            raise ValueError("ENCRYPTION_KEY and ENCRYPTION_KEY_FILE hold different keys: set one of them")
        return self

    @model_validator(mode="after")
    def _own_app(self) -> Self:
        require_own_app(self.tiktok_api_url, self.tiktok_client_key, self.tiktok_client_secret.get_secret_value())
        return self

    @property
    def encryption_keys(self) -> tuple[SecretStr, ...]:
        """The Fernet keys; the first one seals."""
        return fernet_keys(self.encryption_key)

    @property
    def asked_scopes(self) -> tuple[str, ...]:
        """The TikTok scopes a creator is asked for."""
        return _words(self.tiktok_scopes)

    @property
    def required_scopes(self) -> tuple[str, ...]:
        """The TikTok scopes without which connecting is refused."""
        return _words(self.tiktok_required_scopes)

    @property
    def allowed_return_urls(self) -> tuple[str, ...]:
        """Where a browser may be sent after connecting."""
        return _words(self.oauth_return_urls)
