"""Posts of paused accounts say `account_paused`, as their events and warnings do."""

from alembic import op

revision = "0002"
down_revision = "0003"


def upgrade() -> None:
    op.execute("UPDATE posts SET held_reason = 'account_paused' WHERE held_reason = 'account_inactive'")
