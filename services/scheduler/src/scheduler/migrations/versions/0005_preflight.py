"""Posts are checked again before their due time: which version was found in order, and when to look again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("posts", sa.Column("checked_version", sa.Integer, nullable=False, server_default="0"))
    op.add_column("posts", sa.Column("check_after", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_posts_unchecked",
        "posts",
        ["next_attempt_at"],
        postgresql_where=sa.text("status IN ('scheduled', 'retry_scheduled') AND NOT held AND checked_version <> version"),
    )
