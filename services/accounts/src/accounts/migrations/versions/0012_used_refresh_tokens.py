"""Used refresh tokens are kept as long as their session lives, found quickly however many, and bounded by a count of refreshes."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("refreshes", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("ix_refresh_tokens_session_id", "refresh_tokens")
    op.create_index("ix_refresh_tokens_session_id_used_at", "refresh_tokens", ["session_id", "used_at"])
    op.drop_index("ix_refresh_tokens_expires_at", "refresh_tokens")
    op.create_index(
        "ix_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"], postgresql_where=sa.text("used_at IS NULL")
    )
