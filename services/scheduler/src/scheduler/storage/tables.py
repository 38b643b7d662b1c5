"""Tables of the scheduler's database."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from common.database.tables import inbox_table, new_metadata, outbox_table

metadata = new_metadata()
outbox = outbox_table(metadata)
inbox = inbox_table(metadata)


def _moment(name: str) -> "Column[object]":
    return Column(name, DateTime(timezone=True))


def _now(name: str) -> "Column[object]":
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _flag(name: str) -> "Column[object]":
    return Column(name, Boolean, nullable=False, server_default=text("false"))


WAITING_SQL = "status IN ('scheduled', 'retry_scheduled')"
MOVING_SQL = "status IN ('due', 'publishing', 'deferred', 'processing')"
UNFINISHED_SQL = "status IN ('draft', 'scheduled', 'retry_scheduled', 'due', 'publishing', 'deferred', 'processing')"

posts = Table(
    "posts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("account_id", Uuid),
    Column("status", Text, nullable=False),
    _flag("held"),
    Column("held_reason", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("retry_count", Integer, nullable=False, server_default="0"),
    Column("dismissed_attempts", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("caption", Text, nullable=False, server_default=""),
    Column("hashtags", JSONB, nullable=False, server_default="[]"),
    Column("mentions", JSONB, nullable=False, server_default="[]"),
    Column("title", Text, nullable=False, server_default=""),
    Column("privacy_level", Text),
    Column("media_id", Uuid),
    Column("media_sha256", Text),
    Column("source_url", Text),
    Column("photo_urls", JSONB, nullable=False, server_default="[]"),
    Column("mode", Text, nullable=False),
    Column("transfer", Text, nullable=False),
    _flag("disable_comment"),
    _flag("disable_duet"),
    _flag("disable_stitch"),
    _flag("brand_content_toggle"),
    _flag("brand_organic_toggle"),
    _flag("is_aigc"),
    Column("cover_timestamp_ms", Integer),
    Column("photo_title", Text),
    Column("photo_cover_index", Integer),
    _flag("auto_add_music"),
    _moment("scheduled_time"),
    Column("timezone", Text),
    _moment("publish_before"),
    _moment("next_attempt_at"),
    _moment("due_at"),
    _moment("forecast_at"),
    _moment("started_at"),
    _moment("submitted_at"),
    _moment("published_at"),
    _moment("ended_at"),
    Column("publish_id", Text),
    Column("tiktok_video_id", Text),
    Column("video_url", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("error_hint", Text),
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    Column("publisher_sequence", Integer, nullable=False, server_default="0"),
    _moment("sweep_at"),
    _moment("cancel_at"),
    Column("correlation_id", Text),
    _now("created_at"),
    _now("updated_at"),
    _moment("deleted_at"),
    Column("checked_version", Integer, nullable=False, server_default="0"),
    _moment("check_after"),
    _moment("video_since"),
    Column("given_up_attempt", Integer, nullable=False, server_default="0"),
    _flag("cancel_asked"),
    _flag("video_id_by_owner"),
    _moment("requested_at"),
    Index("ix_posts_due", "next_attempt_at", postgresql_where=text(f"{WAITING_SQL} AND NOT held")),
    Index("ix_posts_line", "user_id", "next_attempt_at", postgresql_where=text(f"{WAITING_SQL} AND NOT held")),
    Index("ix_posts_day", "account_id", "mode", "next_attempt_at", postgresql_where=text(WAITING_SQL)),
    Index(
        "ix_posts_unchecked",
        "next_attempt_at",
        postgresql_where=text(f"{WAITING_SQL} AND NOT held AND checked_version <> version"),
    ),
    Index("ix_posts_sweep", "sweep_at", postgresql_where=text(MOVING_SQL)),
    Index("ix_posts_deadline", "publish_before", postgresql_where=text(WAITING_SQL)),
    Index("ix_posts_cancel", "cancel_at", postgresql_where=text("cancel_at IS NOT NULL")),
    Index("ix_posts_user", "user_id", "id", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_posts_user_status", "user_id", "status", "id", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_posts_user_time", "user_id", "scheduled_time", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_posts_media", "media_id", postgresql_where=text("media_id IS NOT NULL")),
    Index(
        "ix_posts_account_unfinished",
        "account_id",
        "id",
        postgresql_where=text(UNFINISHED_SQL),
    ),
    Index(
        "ix_posts_duplicate",
        "account_id",
        "media_sha256",
        "created_at",
        postgresql_where=text("media_sha256 IS NOT NULL"),
    ),
)

media = Table(
    "media",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("storage_key", Text, nullable=False),
    Column("container", Text),
    Column("duration_ms", BigInteger),
    Column("width", Integer),
    Column("height", Integer),
    Column("fps", Float),
    Column("video_codec", Text),
    Column("problems", JSONB, nullable=False, server_default="[]"),
    Column("version", Integer, nullable=False, server_default="1"),
    _now("created_at"),
    _now("updated_at"),
    _moment("deleted_at"),
    Column("command_id", Uuid),
    Index("ix_media_user", "user_id", "id", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_media_unused", "created_at", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_media_storage_key", "storage_key", postgresql_where=text("deleted_at IS NULL")),
    Index("uq_media_command", "command_id", unique=True, postgresql_where=text("command_id IS NOT NULL")),
)

stored_objects = Table(
    "stored_objects",
    metadata,
    Column("storage_key", Text, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("sha256", Text),
    _flag("has_thumbnail"),
    _moment("remove_at"),
    Column("tries", Integer, nullable=False, server_default="0"),
    _now("created_at"),
    Index(
        "uq_stored_objects_content",
        "user_id",
        "sha256",
        unique=True,
        postgresql_where=text("sha256 IS NOT NULL AND remove_at IS NULL"),
    ),
    Index("ix_stored_objects_removal", "remove_at", postgresql_where=text("remove_at IS NOT NULL")),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False, index=True),
    Column("username", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    _flag("deleted"),
    _moment("behind_since"),
    Index("ix_accounts_behind", "behind_since", postgresql_where=text("behind_since IS NOT NULL")),
)
