"""An owner's pause is remembered beside the state, which says `expired` for as long as the grant is gone.

Whether an account that has expired already was paused before is not known any more: such a one comes back active.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("tiktok_accounts", sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("UPDATE tiktok_accounts SET paused = true WHERE status = 'inactive'")
