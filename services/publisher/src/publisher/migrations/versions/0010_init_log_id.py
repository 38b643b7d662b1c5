"""Jobs keep the log id of TikTok's answer to their init."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0010"
down_revision = "publisher_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publish_jobs", sa.Column("init_log_id", sa.Text))
