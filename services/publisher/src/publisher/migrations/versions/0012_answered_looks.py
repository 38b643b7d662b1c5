"""Jobs that have ended keep when TikTok answered a look at them last."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0012"
down_revision = "publisher_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publish_jobs", sa.Column("answered_at", sa.DateTime(timezone=True)))
