"""The roll-up of posts by day, for users with so many that counting them again for each question takes too long."""

from sqlalchemy import Column, Date, DateTime, Double, Index, Integer, PrimaryKeyConstraint, Table, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from analytics.storage.tables import metadata

stats_post_days = Table(
    "stats_post_days",
    metadata,
    Column("user_id", Uuid, nullable=False),
    Column("day", Date, nullable=False),
    Column("states", JSONB, nullable=False),
    Column("failures", JSONB, nullable=False),
    Column("lateness_steps", ARRAY(Integer), nullable=False),
    Column("lateness_counts", ARRAY(Integer), nullable=False),
    Column("lateness_max", Double),
    PrimaryKeyConstraint("user_id", "day"),
)
"""A user's posts placed on a day of UTC: how many in each state, how many failed with each code, and how late they began, in
`domain.lateness_steps`. True as long as the day is not in `stats_post_days_changed`."""

stats_post_days_changed = Table(
    "stats_post_days_changed",
    metadata,
    Column("user_id", Uuid, nullable=False),
    Column("day", Date, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("user_id", "day"),
    Index(None, "changed_at"),
)
"""Days whose posts changed since they were rolled up: written by triggers of `stats_posts`, in the transaction of the change."""
