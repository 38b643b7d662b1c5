"""Jobs keep the privacy level their post was sent with."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0009"
down_revision = "publisher_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publish_jobs", sa.Column("sent_privacy_level", sa.Text))
