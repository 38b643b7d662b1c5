"""Files that are fetched from an address before they are sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "publisher_0005"
down_revision = "publisher_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publish_jobs", sa.Column("fetched", JSONB))
    op.add_column("publish_jobs", sa.Column("fetched_removed_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_publish_jobs_fetched",
        "publish_jobs",
        ["finished_at"],
        postgresql_where=sa.text("fetched IS NOT NULL AND fetched_removed_at IS NULL AND finished_at IS NOT NULL"),
    )
