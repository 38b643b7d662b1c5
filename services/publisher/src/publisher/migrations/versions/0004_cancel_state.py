"""How far TikTok was asked to give up a fetch that a person wants stopped."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0004"
down_revision = "publisher_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publish_jobs", sa.Column("cancel_state", sa.Text))
