"""Limits are counted per account or app and keep for whom; jobs say which one they wait for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "publisher_0003"
down_revision = "publisher_0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
BEGINS = "state IN ('queued', 'running') AND step IN ('queued', 'token', 'creator_info')"


def upgrade() -> None:
    # What the old table knew is a minute old at most, and TikTok's own refusals are waited out.
    op.drop_table("tiktok_quotas")
    op.create_table(
        "tiktok_quotas",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("calls", ARRAY(MOMENT), nullable=False, server_default="{}"),
        sa.Column("takers", ARRAY(sa.Uuid), nullable=False, server_default="{}"),
        sa.Column("not_before", MOMENT),
        sa.Column("granted", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("ahead", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("owner", "name", name="pk_tiktok_quotas"),
    )
    op.add_column("publish_jobs", sa.Column("awaits_quota", sa.Text))
    # Jobs that wait at this moment keep their place in line.
    op.execute(
        "UPDATE publish_jobs SET awaits_quota = 'init' WHERE run_at IS NOT NULL AND lease_owner IS NULL"
        " AND state = 'running' AND step IN ('token', 'creator_info') AND reason ->> 'code' = 'tiktok_quota'"
    )
    op.create_index(
        "ix_publish_jobs_beginning",
        "publish_jobs",
        ["account_id", "due_at", "post_id"],
        postgresql_where=sa.text(BEGINS),
    )
    op.create_index(
        "ix_publish_jobs_awaits_quota",
        "publish_jobs",
        ["account_id", "awaits_quota"],
        postgresql_where=sa.text("awaits_quota IS NOT NULL"),
    )
