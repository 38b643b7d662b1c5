"""Videos are found by their id, so that none is taken for another post's."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0007"
down_revision = "publisher_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_publish_jobs_video",
        "publish_jobs",
        ["tiktok_video_id"],
        postgresql_where=sa.text("tiktok_video_id IS NOT NULL"),
    )
