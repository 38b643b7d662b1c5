"""Settings of the gateway; the only place that reads its environment."""

from datetime import timedelta
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

import limits
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator

from common.auth.keys import b64url_decode
from common.settings import BaseUrl, ServiceSettings
from gateway.domain.client_address import parse_networks
from gateway.security.limit_store import check_storage
from gateway.security.revocations import STALE_AFTER_S, UNREAD_AT_MOST_S
from tiktok.app_credentials import require_own_app

OPERATION_KEY_BYTES = 32
MAX_WEBHOOK_TOLERANCE_S = 6 * 86_400
"""Shorter than the 7 days for which consumers remember what they have handled: within it, a replay is a duplicate."""


def _rate_limits(text: str) -> str:
    try:
        limits.parse_many(text)
    except ValueError:
        raise ValueError("is not a rate limit such as 100/minute or 20/minute;200/hour") from None
    return text


def _storage_url(text: str) -> str:
    if urlsplit(text).scheme not in {"file", "s3"}:
        raise ValueError("must begin with file:// or s3://")
    return text


def _networks(text: str) -> str:
    parse_networks(text)
    return text


def _operation_key(secret: SecretStr) -> SecretStr:
    if len(b64url_decode(secret.get_secret_value())) != OPERATION_KEY_BYTES:
        raise ValueError(f"must be base64url of {OPERATION_KEY_BYTES} bytes")
    return secret


RateLimitText = Annotated[str, AfterValidator(_rate_limits)]
"""One or more limits in the notation of the `limits` library, such as `100/minute` or `20/minute;200/hour`."""


class Settings(ServiceSettings):
    """What the gateway needs; times are seconds, sizes bytes."""

    SERVICE: ClassVar[str] = "gateway"

    http_port: int = Field(default=8400, ge=0, le=65535)
    public_url: BaseUrl = "http://127.0.0.1:8400"
    storage_url: Annotated[str, AfterValidator(_storage_url)]
    aws_endpoint_url: Annotated[str, Field(validation_alias=AliasChoices("aws_endpoint_url", "aws_endpoint"))] = ""
    aws_region: Annotated[str, Field(validation_alias=AliasChoices("aws_region", "aws_default_region"))] = "us-east-1"
    aws_access_key_id: str = ""
    aws_secret_access_key: SecretStr = SecretStr("")
    aws_session_token: SecretStr | None = None
    """Of the bucket. Its client reads these by itself, and more; here they are for removing what killed processes left in it."""
    upload_max_bytes: int = Field(default=524_288_000, ge=1)
    upload_stall_seconds: float = Field(default=30.0, gt=0, le=600)
    upload_min_bytes_per_second: int = Field(default=65_536, ge=1, le=1_000_000_000)
    uploads: int = Field(default=32, ge=1, le=10_000)
    uploads_per_user: int = Field(default=4, ge=1, le=10_000)
    rate_limit_per_user: RateLimitText = "100/minute"
    rate_limit_per_address: RateLimitText = "20/minute"
    rate_limit_storage: Annotated[SecretStr, AfterValidator(check_storage)] = SecretStr("memory://")
    revocations_unread_seconds: float = Field(default=UNREAD_AT_MOST_S, ge=STALE_AFTER_S, le=86_400)
    command_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    reply_retention_days: int = Field(default=7, ge=1, le=365, description="as long as accounts and scheduler keep replies")
    live_streams: int = Field(default=2_000, ge=1, le=100_000)
    live_streams_per_user: int = Field(default=20, ge=1, le=100_000)
    live_heartbeat_seconds: float = Field(default=15.0, gt=0, le=300)
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    require_https: bool = False
    hsts_max_age_seconds: int = Field(default=31_536_000, ge=0, le=63_072_000)
    operation_key: Annotated[SecretStr, AfterValidator(_operation_key)]

    tiktok_api_url: BaseUrl = "https://open.tiktokapis.com"
    """Nothing is asked of it here: it says whose webhooks come."""
    tiktok_client_key: str = ""
    tiktok_client_secret: SecretStr = SecretStr("")
    webhook_tolerance_seconds: int = Field(default=300, ge=1, le=MAX_WEBHOOK_TOLERANCE_S)

    @property
    def reply_retention(self) -> timedelta:
        """How long operations can be asked for."""
        return timedelta(days=self.reply_retention_days)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        secret = self.tiktok_client_secret.get_secret_value()
        if bool(self.tiktok_client_key) is not bool(secret):
            raise ValueError("TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET belong together: set both, or neither")
        require_own_app(self.tiktok_api_url, self.tiktok_client_key, secret)
        return self
