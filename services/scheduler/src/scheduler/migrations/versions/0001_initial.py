"""Posts, media library, account copies, outbox and inbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from common.database.tables import create_shared_tables

revision = "0001"
down_revision = None

WAITING = "status IN ('scheduled', 'retry_scheduled')"
MOVING = "status IN ('due', 'publishing', 'deferred', 'processing')"
UNFINISHED = "status IN ('draft', 'scheduled', 'retry_scheduled', 'due', 'publishing', 'deferred', 'processing')"
QUEUE_LIKE = {"fillfactor": "80", "autovacuum_vacuum_scale_factor": "0.02", "autovacuum_analyze_scale_factor": "0.02"}


def moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True))


def now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def flag(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("false"))


def number(name: str, default: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=default)


def string(name: str, default: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def array(name: str) -> sa.Column[object]:
    return sa.Column(name, JSONB, nullable=False, server_default="[]")


def upgrade() -> None:
    create_shared_tables(op)
    create_posts()
    create_media()
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        flag("deleted"),
        moment("behind_since"),
    )
    op.create_index("ix_accounts_user_id", "accounts", ["user_id"])
    op.create_index("ix_accounts_behind", "accounts", ["behind_since"], postgresql_where=sa.text("behind_since IS NOT NULL"))


def create_posts() -> None:
    op.create_table(
        "posts",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("account_id", sa.Uuid),
        sa.Column("status", sa.Text, nullable=False),
        flag("held"),
        sa.Column("held_reason", sa.Text),
        number("attempt", "0"),
        number("retry_count", "0"),
        number("version", "1"),
        string("caption", ""),
        array("hashtags"),
        array("mentions"),
        string("title", ""),
        sa.Column("privacy_level", sa.Text),
        sa.Column("media_id", sa.Uuid),
        sa.Column("media_sha256", sa.Text),
        sa.Column("source_url", sa.Text),
        array("photo_urls"),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("transfer", sa.Text, nullable=False),
        *map(flag, ("disable_comment", "disable_duet", "disable_stitch")),
        *map(flag, ("brand_content_toggle", "brand_organic_toggle", "is_aigc")),
        sa.Column("cover_timestamp_ms", sa.Integer),
        moment("scheduled_time"),
        sa.Column("timezone", sa.Text),
        *map(moment, ("publish_before", "next_attempt_at", "due_at", "forecast_at")),
        *map(moment, ("started_at", "submitted_at", "published_at", "ended_at")),
        sa.Column("publish_id", sa.Text),
        sa.Column("tiktok_video_id", sa.Text),
        sa.Column("video_url", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_hint", sa.Text),
        array("warnings"),
        number("publisher_sequence", "0"),
        moment("sweep_at"),
        moment("cancel_at"),
        sa.Column("correlation_id", sa.Text),
        now("created_at"),
        now("updated_at"),
        moment("deleted_at"),
        postgresql_with=QUEUE_LIKE,
    )
    op.create_index("ix_posts_due", "posts", ["next_attempt_at"], postgresql_where=sa.text(f"{WAITING} AND NOT held"))
    op.create_index("ix_posts_sweep", "posts", ["sweep_at"], postgresql_where=sa.text(MOVING))
    op.create_index("ix_posts_deadline", "posts", ["publish_before"], postgresql_where=sa.text(WAITING))
    op.create_index("ix_posts_cancel", "posts", ["cancel_at"], postgresql_where=sa.text("cancel_at IS NOT NULL"))
    op.create_index("ix_posts_user", "posts", ["user_id", "id"], postgresql_where=sa.text("deleted_at IS NULL"))
    op.create_index("ix_posts_account_unfinished", "posts", ["account_id", "id"], postgresql_where=sa.text(UNFINISHED))
    op.create_index(
        "ix_posts_duplicate",
        "posts",
        ["account_id", "media_sha256", "created_at"],
        postgresql_where=sa.text("media_sha256 IS NOT NULL"),
    )


def create_media() -> None:
    op.create_table(
        "media",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("storage_key", sa.Text, nullable=False),
        sa.Column("container", sa.Text),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("fps", sa.Float),
        sa.Column("video_codec", sa.Text),
        array("problems"),
        number("version", "1"),
        now("created_at"),
        now("updated_at"),
        moment("deleted_at"),
    )
    op.create_index("ix_media_user", "media", ["user_id", "id"], postgresql_where=sa.text("deleted_at IS NULL"))
