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
    ids_bare: bool = False
    """A single post id comes as a bare value instead of a list."""
    publish_id_seconds: float = Field(0, ge=0)
    """How long the status of a publication can be asked for; 0 for ever."""
    invalid_param_code: Literal["invalid_params", "invalid_param"] = "invalid_params"
    """What TikTok really answers, and what its documents say."""
    refuse_branded_self_only: bool = False
    """Refuse branded content that only its creator may see; no such error is documented."""
    out_of_scope_fields: Literal["refuse", "omit"] = "refuse"
    """What user info does with a field outside the granted scopes."""
    check_media: bool = True
    """Probe uploaded bytes; switched off, any bytes pass as a video."""

    megabyte_bytes: Literal[1_000_000, 1_048_576] = 1_000_000
    """How TikTok's 5 and 64 MB of the chunk rules are read."""
    upload_url_seconds: float = Field(3600, gt=0)
    content_range_counts: bool = True
    """Content-Range of chunk answers ends with a count of bytes; otherwise with the last index."""

    stored_chunk_again: Literal["refuse", "accept"] = "refuse"
    """What happens to a chunk that is already stored: 416, or taken and ignored."""
    completed_upload_status: Literal[403, 404, 416] = 416
    """What any chunk is answered once all bytes are in."""
    uploaded_bytes_lag_seconds: float = Field(0.0, ge=0)
    """The status counts the last chunk so long after it arrived, unless processing has ended."""

    verified_domains: Words = ()
    """Domains that TikTok may fetch from, with all their subdomains."""
    verified_prefixes: Words = ()
    """Address prefixes that TikTok may fetch from, compared as text."""
    pull_loopback: bool = False
    """Fetch from this machine too: for loopback hosts neither https nor a verified property is asked for."""
    pull_seconds: float = Field(3600, gt=0)
    """A fetch that has not ended by then has failed."""
    pull_stall_seconds: float = Field(30, gt=0)
    """So long may a fetch wait for a connection or for the next bytes."""
    pull_max_bytes: int = Field(4 * 1024**3, ge=1)

    unaudited: bool = False
    unaudited_users: int = Field(5, ge=0)
    """Creators whom an unaudited app may post for in 24 hours."""
    active_users: int = Field(0, ge=0)
    """The same for an audited app, from its audit; 0 for no cap."""
    pending_shares: int = Field(5, ge=0)
    """Drafts per creator; 0 for no cap."""
    pending_shares_free_up: bool = False
    """Only drafts that wait count, of any age; otherwise all of the last 24 hours."""
    daily_posts: int = Field(15, ge=0)
    """Direct posts per creator in 24 hours; 0 for no cap."""
    init_per_minute: int = Field(6, ge=1)
    shared_init_limit: bool = True
    """The three inits share one minute's limit; otherwise each has its own."""
    creator_info_per_minute: int = Field(20, ge=1)
    status_per_minute: int = Field(30, ge=1)
    cancel_per_minute: int = Field(30, ge=1)
    display_per_minute: int = Field(600, ge=1)
    retry_after: bool = False
    """Send Retry-After with a 429."""
    video_page_max: int = Field(20, ge=1, le=20)
    """No page of videos holds more, whatever ``max_count`` says; ``has_more`` tells of the rest."""
    photos_in_video_list: bool = False
    views_half_life_seconds: float = Field(6 * 3600, gt=0)
    """Time in which a post gets half of the views it will ever have."""

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
    """Keep all bytes for ever."""
    keep_newest_bytes: int = Field(100_000_000, ge=0)
    """So many bytes of what was published last are kept, to be played on the start page; what is larger by itself is not."""

    @field_validator("redirect_uris", "scopes", "verified_domains", "verified_prefixes", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return tuple(word for part in value.split(",") if (word := part.strip()))
