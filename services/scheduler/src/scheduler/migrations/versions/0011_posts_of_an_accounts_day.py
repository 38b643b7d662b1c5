"""Waiting posts are found by their account's day: whether TikTok's daily cap has room for one more is told beforehand."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"


def upgrade() -> None:
    op.create_index(
        "ix_posts_day",
        "posts",
        ["account_id", "mode", "next_attempt_at"],
        postgresql_where=sa.text("status IN ('scheduled', 'retry_scheduled')"),
    )
