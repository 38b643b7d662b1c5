"""What a post's owner wished and said that is still open is noted on it; a user's posts are found by state and by time."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"


def upgrade() -> None:
    for name in ("cancel_asked", "video_id_by_owner"):
        op.add_column("posts", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("false")))
    for name, columns in (
        ("ix_posts_user_status", ["user_id", "status", "id"]),
        ("ix_posts_user_time", ["user_id", "scheduled_time"]),
    ):
        op.create_index(name, "posts", columns, postgresql_where=sa.text("deleted_at IS NULL"))
