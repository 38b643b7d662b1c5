"""Refreshing ahead of time: when each pair is tried next, how often trying failed, and refreshes that were cut off."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("account_tokens", sa.Column("next_refresh_at", MOMENT))
    op.add_column("account_tokens", sa.Column("refresh_failures", sa.Integer, nullable=False, server_default="0"))
    op.add_column("account_tokens", sa.Column("interrupted_at", MOMENT))
    # Pairs that are there already are spread like new ones: ahead of their due moment by up to a tenth of their life.
    op.execute(
        "UPDATE account_tokens SET next_refresh_at = least(refresh_due_at, refresh_expires_at)"
        " - random() * 0.1 * (expires_at - obtained_at) FROM tiktok_accounts"
        " WHERE tiktok_accounts.id = account_tokens.account_id"
        " AND tiktok_accounts.status <> 'expired' AND tiktok_accounts.disconnected_at IS NULL"
    )
    op.drop_index("ix_account_tokens_refresh_due_at", "account_tokens")
    op.create_index(
        "ix_account_tokens_next_refresh_at",
        "account_tokens",
        ["next_refresh_at"],
        postgresql_where=sa.text("next_refresh_at IS NOT NULL"),
    )
