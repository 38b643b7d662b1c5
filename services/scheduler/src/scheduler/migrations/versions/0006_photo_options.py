"""What photo posts have besides: a title, the place of their cover, and whether TikTok adds music."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("posts", sa.Column("photo_title", sa.Text))
    op.add_column("posts", sa.Column("photo_cover_index", sa.Integer))
    op.add_column("posts", sa.Column("auto_add_music", sa.Boolean, nullable=False, server_default="false"))
