"""Search by trigrams within one user's accounts; grants to revoke; how far calls to TikTok are booked ahead."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    index_the_search()
    create_revocations()
    create_call_pace()


def index_the_search() -> None:
    # Trusted extensions: the owner of the database may create them, no superuser is needed.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
    op.create_index(
        "ix_tiktok_accounts_search_connected",
        "tiktok_accounts",
        ["user_id", "search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
        postgresql_where=sa.text("disconnected_at IS NULL"),
    )


def create_revocations() -> None:
    op.create_table(
        "grant_revocations",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("deadline_at", MOMENT, nullable=False),
        sa.Column("claim_id", sa.Uuid),
        sa.Column("calling_until", MOMENT),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text),
        sa.Column("finished_at", MOMENT),
        sa.Column("outcome", sa.Text),
        sa.PrimaryKeyConstraint("account_id", name="pk_grant_revocations"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["tiktok_accounts.id"], name="fk_grant_revocations_account_id", ondelete="CASCADE"
        ),
    )
    op.create_index(
        "ix_grant_revocations_due", "grant_revocations", ["due_at"], postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_index("ix_grant_revocations_finished_at", "grant_revocations", ["finished_at"])


def create_call_pace() -> None:
    op.create_table(
        "tiktok_call_pace",
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("booked_until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name="pk_tiktok_call_pace"),
    )
