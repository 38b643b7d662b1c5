"""Accounts of which TikTok takes nothing until a person acts; an account's line has a version."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "publisher_0008"
down_revision = "publisher_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tiktok_quotas", sa.Column("moves", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "account_holds",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("reason", JSONB, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "mode", name="pk_account_holds"),
    )
