"""Settings of the simulator: environment variables with the prefix ``SIMULATOR_``."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Words = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """How the simulated TikTok behaves. Lists are comma separated or JSON; durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix="SIMULATOR_", env_ignore_empty=True, frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8490, ge=0, le=65535)
    public_url: str = ""
    """Base of upload and avatar addresses; empty takes the address that the client called."""

    client_key: str = "simulator-client-key"
    client_secret: SecretStr = SecretStr("simulator-client-secret")
    redirect_uris: Words = (
        "http://127.0.0.1:8400/api/v1/tiktok/callback",
        "http://localhost:8400/api/v1/tiktok/callback",
    )
    """Registered redirect addresses, matched exactly; for a desktop app the port may be registered as ``*``."""
    scopes: Words = (
        "user.info.basic",
        "user.info.profile",
        "user.info.stats",
        "video.list",
        "video.upload",
        "video.publish",
    )
    """Scopes the app is approved for."""
    platform: Literal["web", "desktop"] = "desktop"
    """``desktop`` requires PKCE with a hex challenge; for ``web`` it is optional."""
    lenient_pkce: bool = False
    """Also accept the base64url challenge of RFC 7636, from a web app."""

    access_token_seconds: int = Field(7200, ge=1)
    refresh_token_seconds: int = Field(180 * 86400, ge=1)
    refresh_grace_seconds: float = Field(0, ge=0)
    """How long a rotated refresh token is still good."""
    oauth_error_status: Literal[200, 400, 401] = 200

    processing_seconds: float = Field(1.0, ge=0)
    """From the last byte to the verdict."""
    moderation_seconds: float = Field(0.0, ge=0)
    """From publication to the post id of a public post being shown."""
    ids_as_strings: bool = False
    check_media: bool = True
    """Probe uploaded bytes; switched off, any bytes pass as a video."""

    megabyte_bytes: Literal[1_000_000, 1_048_576] = 1_000_000
    """How TikTok's 5 and 64 MB of the chunk rules are read."""
    upload_url_seconds: float = Field(3600, gt=0)
    content_range_counts: bool = True
    """Content-Range of chunk answers ends with a count of bytes; otherwise with the last index."""

    unaudited: bool = False
    daily_posts: int = Field(15, ge=0)
    """Direct posts per creator in 24 hours; 0 for no cap."""
    init_per_minute: int = Field(6, ge=1)
    creator_info_per_minute: int = Field(20, ge=1)
    status_per_minute: int = Field(30, ge=1)
    display_per_minute: int = Field(600, ge=1)

    webhook_url: str = Field("", pattern=r"^(https?://.+)?$")
    """Callback address of the app; empty: no webhooks are sent."""
    webhook_resign: bool = True
    """Sign each repeat anew; otherwise all repeats carry the first signature. TikTok's documents leave it open."""
    webhook_retry_seconds: float = Field(1.0, gt=0)
    """Pause after the first failure; doubled after each further one."""
    webhook_retry_max_seconds: float = Field(3600, gt=0)
    webhook_give_up_seconds: float = Field(72 * 3600, gt=0)

    state_file: Path | None = None
    """SQLite file that keeps all state over restarts and kills; empty keeps it in memory only."""
    upload_folder: Path | None = None
    """Where bytes are received; empty means beside the state file, or a temporary folder."""
    keep_uploads: bool = False

    @field_validator("redirect_uris", "scopes", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return tuple(word for part in value.split(",") if (word := part.strip()))
