"""Posts that are published on their owner's word have no views of a first day; records that were long on their way are found."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

BY_OWNER = """
UPDATE public.stats_posts SET published_by_owner = true, day_views = NULL
WHERE published_at > now() - interval '181 days' AND EXISTS (
    SELECT FROM audit.records
    WHERE object_id = CAST(post_id AS text) AND key = 'scheduler.post.published.v1' AND data ->> 'by_owner' = 'true'
)
"""
LATE = "(time AT TIME ZONE 'UTC') < (recorded_at AT TIME ZONE 'UTC') - interval '24 hours'"


def upgrade() -> None:
    op.add_column("stats_posts", sa.Column("published_by_owner", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.execute(BY_OWNER)
    op.create_index(
        "ix_records_user_id_recorded_at",
        "records",
        ["user_id", "recorded_at"],
        schema="audit",
        postgresql_where=sa.text(LATE),
    )
