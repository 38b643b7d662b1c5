"""Tables of the statistics: copies of accounts and posts, made from the audit trail, and what was measured at TikTok."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from analytics.storage.tables import metadata
from common.database.tables import outbox_table

outbox = outbox_table(metadata)

_moment = DateTime(timezone=True)

projection = Table(
    "projection",
    metadata,
    Column("name", Text, primary_key=True),
    Column("recorded_at", _moment, nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""How far the audit trail has been read into the copies below: changed in the transaction that changes them, so each record has
its effect once."""

stats_accounts = Table(
    "stats_accounts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("snapshot_due_at", _moment),
    Column("snapshot_failures", Integer, nullable=False, server_default="0"),
    Column("leased_until", _moment),
    Index(None, "user_id"),
    Index("ix_stats_accounts_snapshot_due_at", "snapshot_due_at", postgresql_where=text("snapshot_due_at IS NOT NULL")),
)
"""An account as its newest event told; `status` active, inactive, expired or disconnected. `snapshot_due_at` is null while nobody
may look (not active, or the scope is missing). `leased_until`: a replica has it in hand."""

stats_posts = Table(
    "stats_posts",
    metadata,
    Column("post_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("account_id", Uuid),
    Column("state", Text, nullable=False),
    Column("state_sequence", BigInteger, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("outcome_sequence", BigInteger, nullable=False, server_default="0"),
    Column("progress", Text),
    Column("progress_attempt", Integer, nullable=False, server_default="0"),
    Column("progress_sequence", BigInteger, nullable=False, server_default="0"),
    Column("heard_at", _moment, nullable=False, server_default=func.now()),
    Column("scheduled_at", _moment),
    Column("placed_at", _moment, nullable=False),
    Column("published_at", _moment),
    Column("published_by_owner", Boolean, nullable=False, server_default=text("false")),
    Column("tiktok_video_id", Text),
    Column("error_code", Text),
    Column("lateness_ms", Double),
    Column("view_count", BigInteger),
    Column("like_count", BigInteger),
    Column("comment_count", BigInteger),
    Column("share_count", BigInteger),
    Column("measured_at", _moment),
    Column("day_views", BigInteger),
    Column("metrics_due_at", _moment),
    Column("metrics_failures", Integer, nullable=False, server_default="0"),
    Column("leased_until", _moment),
    Index(None, "user_id", "placed_at"),
    Index(
        "ix_stats_posts_account_id_metrics_due_at",
        "account_id",
        "metrics_due_at",
        postgresql_where=text("metrics_due_at IS NOT NULL"),
    ),
    Index("ix_stats_posts_metrics_due_at", "metrics_due_at", postgresql_where=text("metrics_due_at IS NOT NULL")),
    Index(
        "ix_stats_posts_user_id_published_at",
        "user_id",
        "published_at",
        postgresql_where=text("published_at IS NOT NULL"),
    ),
    Index(None, "heard_at", postgresql_using="brin"),
    postgresql_with={"fillfactor": 80},
)
"""A post as its newest events told: `state` and `state_sequence` are the scheduler's word, `progress` (publishing, deferred or
processing) the publisher's about its newest attempt, which counts while the scheduler says `due` of the same attempt.

`placed_at` is the time a period is asked by: when it is scheduled (`scheduled_at`), else when it was first heard of (`heard_at`,
the least time of its events). What became of it is the scheduler's word, too: `outcome_sequence` belongs to `published_at` and
`error_code`, because a change of a post that has ended tells its state and not these. `lateness_ms` is the greatest of all its
attempts. The counters are the latest that were measured, `day_views` the views at the first measure from 24 up to 36 hours
after it was published, null when there is none, or when only its owner told that it is published: when it was, is not known then;
`metrics_due_at` is null when no more is to be measured."""

account_snapshots = Table(
    "account_snapshots",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("hour", _moment, nullable=False),
    Column("collected_at", _moment, nullable=False),
    Column("follower_count", BigInteger, nullable=False),
    Column("following_count", BigInteger, nullable=False),
    Column("likes_count", BigInteger, nullable=False),
    Column("video_count", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        "account_id",
        "hour",
        postgresql_include=["collected_at", "follower_count", "following_count", "likes_count", "video_count"],
    ),
    postgresql_partition_by="RANGE (hour)",
)
"""One measure of an account per hour of UTC; an hour without one has no row. A partition per month."""

account_days = Table(
    "account_days",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("day", Date, nullable=False),
    Column("collected_at", _moment, nullable=False),
    Column("follower_count", BigInteger, nullable=False),
    Column("following_count", BigInteger, nullable=False),
    Column("likes_count", BigInteger, nullable=False),
    Column("video_count", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "day"),
    Index(None, "day"),
)
"""The last measure of each day of UTC: rolled up with each snapshot, kept longer than they are."""

post_metrics = Table(
    "post_metrics",
    metadata,
    Column("post_id", Uuid, nullable=False),
    Column("collected_at", _moment, nullable=False),
    Column("view_count", BigInteger, nullable=False),
    Column("like_count", BigInteger, nullable=False),
    Column("comment_count", BigInteger, nullable=False),
    Column("share_count", BigInteger, nullable=False),
    PrimaryKeyConstraint("post_id", "collected_at"),
    postgresql_partition_by="RANGE (collected_at)",
)
"""The measures of a post. A partition per month."""

tiktok_call_pace = Table(
    "tiktok_call_pace",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("booked_until", _moment, nullable=False),
)
"""How far calls to a TikTok endpoint are booked ahead, by all replicas together."""
