"""Attempts of unknown outcome that a person dismissed, so that another attempt may start."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("posts", sa.Column("dismissed_attempts", sa.Integer, nullable=False, server_default="0"))
