"""Which encryption keys each replica holds, by their fingerprints: a rotation goes on when all of them have taken a change up."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "encryption_key_holders",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("fingerprints", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("refused", sa.Text),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
