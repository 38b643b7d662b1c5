"""What the publisher knows of accounts, and which jobs wait for theirs."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0002"
down_revision = "publisher_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("status", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
    )
    op.add_column("publish_jobs", sa.Column("awaits_account", sa.Boolean, nullable=False, server_default="false"))
    # Jobs that wait at this moment are woken by their account, too.
    op.execute(
        "UPDATE publish_jobs SET awaits_account = true"
        " WHERE run_at IS NOT NULL AND lease_owner IS NULL AND state IN ('queued', 'running')"
        " AND reason ->> 'code' IN ('account_inactive', 'account_expired')"
    )
    op.create_index(
        "ix_publish_jobs_awaits_account", "publish_jobs", ["account_id"], postgresql_where=sa.text("awaits_account")
    )
