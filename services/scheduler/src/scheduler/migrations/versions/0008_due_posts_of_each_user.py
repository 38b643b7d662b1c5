"""Due posts are found by user, too: many posts of some users hold up no other's."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index(
        "ix_posts_line",
        "posts",
        ["user_id", "next_attempt_at"],
        postgresql_where=sa.text("status IN ('scheduled', 'retry_scheduled') AND NOT held"),
    )
