"""What TikTok's webhooks claim of publications, jobs that are to be looked at at once, and looks at unknown outcomes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "publisher_0006"
down_revision = "publisher_0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "publication_claims",
        sa.Column("publish_id", sa.Text, nullable=False),
        sa.Column("open_id", sa.Text, nullable=False),
        sa.Column("publish_type", sa.Text),
        sa.Column("completed_at", MOMENT),
        sa.Column("delivered_at", MOMENT),
        sa.Column("failed_at", MOMENT),
        sa.Column("fail_reason", sa.Text),
        sa.Column("public_at", MOMENT),
        sa.Column("not_public_at", MOMENT),
        sa.Column("video_ids", ARRAY(sa.Text), nullable=False, server_default="{}"),
        sa.Column("heard_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("publish_id", "open_id", name="pk_publication_claims"),
    )
    op.create_index("ix_publication_claims_open_id", "publication_claims", ["open_id", "completed_at"])
    op.create_index("ix_publication_claims_heard_at", "publication_claims", ["heard_at"])
    op.add_column("publish_jobs", sa.Column("look_at_once", sa.Boolean, nullable=False, server_default="false"))
    op.create_index(
        "ix_publish_jobs_unsettled",
        "publish_jobs",
        ["open_id"],
        postgresql_where=sa.text("state = 'unconfirmed' OR (state = 'succeeded' AND tiktok_video_id IS NULL)"),
    )
    # Outcomes that were given up are looked at from now on, too.
    op.execute(
        "UPDATE publish_jobs SET run_at = now(), lane = 'follow', polls = 0, deferrals = 0"
        " WHERE state = 'unconfirmed' AND run_at IS NULL AND post IS NOT NULL"
    )
