"""Jobs keep when TikTok told the status that they hold, and which videos the last list of them showed that may be theirs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "publisher_0013"
down_revision = "publisher_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publish_jobs", sa.Column("status_at", sa.DateTime(timezone=True)))
    op.add_column("publish_jobs", sa.Column("possible_videos", ARRAY(sa.Text)))
