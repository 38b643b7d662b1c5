"""Whether a post's owner is still to be told what became of the wish to stop it."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("posts", sa.Column("cancel_asked", sa.Boolean, nullable=False, server_default=sa.text("false")))
