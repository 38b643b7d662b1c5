"""Since when a post is to publish its video: what the rule against the same video twice counts from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("posts", sa.Column("video_since", sa.DateTime(timezone=True)))
