"""When the newest request of its owner was sent is noted on a post: an older one that comes later has no effect."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("posts", sa.Column("requested_at", sa.DateTime(timezone=True)))
