"""Accounts of which TikTok takes nothing until a person acts; files that were fetched stand in line, too."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "publisher_0008"
down_revision = "publisher_0007"
branch_labels = None
depends_on = None

BEGINS = "state IN ('queued', 'running') AND step IN ('queued', 'token', 'fetched', 'creator_info')"


def upgrade() -> None:
    op.drop_index("ix_publish_jobs_beginning", table_name="publish_jobs")
    op.create_index(
        "ix_publish_jobs_beginning",
        "publish_jobs",
        ["account_id", "due_at", "post_id"],
        postgresql_where=sa.text(BEGINS),
    )
    op.create_table(
        "account_holds",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("reason", JSONB, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "mode", name="pk_account_holds"),
    )
