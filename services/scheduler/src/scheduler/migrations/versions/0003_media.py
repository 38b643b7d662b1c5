"""Bytes of the media library as rows of their own, shared by identical files; which command brought a file."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0004"

CONTENT = "sha256 IS NOT NULL AND remove_at IS NULL"
PRESENT = "deleted_at IS NULL"

# One object of each content is the one to share; what identical files had before stays theirs alone: jobs under way name it.
ADOPT = """
INSERT INTO stored_objects (storage_key, user_id, sha256, created_at)
SELECT DISTINCT ON (storage_key) storage_key, user_id,
  CASE WHEN status = 'ready' AND place = 1 THEN sha256 END, created_at
FROM (
  SELECT *, row_number() OVER (PARTITION BY user_id, sha256, status ORDER BY id) AS place FROM media WHERE deleted_at IS NULL
) AS files
ORDER BY storage_key, place
"""


def upgrade() -> None:
    op.create_table(
        "stored_objects",
        sa.Column("storage_key", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("sha256", sa.Text),
        sa.Column("has_thumbnail", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("remove_at", sa.DateTime(timezone=True)),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.execute(ADOPT)
    op.create_index(
        "uq_stored_objects_content", "stored_objects", ["user_id", "sha256"], unique=True, postgresql_where=sa.text(CONTENT)
    )
    op.create_index(
        "ix_stored_objects_removal", "stored_objects", ["remove_at"], postgresql_where=sa.text("remove_at IS NOT NULL")
    )
    op.add_column("media", sa.Column("command_id", sa.Uuid))
    op.create_index("ix_media_unused", "media", ["created_at"], postgresql_where=sa.text(PRESENT))
    op.create_index("ix_media_storage_key", "media", ["storage_key"], postgresql_where=sa.text(PRESENT))
    op.create_index(
        "uq_media_command", "media", ["command_id"], unique=True, postgresql_where=sa.text("command_id IS NOT NULL")
    )
    op.create_index("ix_posts_media", "posts", ["media_id"], postgresql_where=sa.text("media_id IS NOT NULL"))
