"""Publish jobs, quotas, creator infos, outbox and inbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from common.database.tables import create_shared_tables

revision = "publisher_0001"
down_revision = None
branch_labels = ("publisher",)
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_shared_tables(op)
    op.execute(sa.schema.CreateSequence(sa.Sequence("publish_lease_tokens")))
    _create_jobs()
    op.create_table(
        "creator_infos",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("info", JSONB, nullable=False),
        sa.Column("fetched_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_creator_infos"),
    )
    op.create_table(
        "tiktok_quotas",
        sa.Column("open_id", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("calls", ARRAY(MOMENT), nullable=False),
        sa.Column("taken_by", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("open_id", "endpoint", name="pk_tiktok_quotas"),
    )


def _create_jobs() -> None:
    op.create_table(
        "publish_jobs",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("post_id", sa.Uuid, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("post", JSONB),
        sa.Column("user_id", sa.Uuid),
        sa.Column("account_id", sa.Uuid),
        sa.Column("correlation_id", sa.Text),
        sa.Column("causation_id", sa.Text),
        sa.Column("traceparent", sa.Text),
        sa.Column("due_at", MOMENT),
        sa.Column("publish_before", MOMENT),
        sa.Column("transfer", sa.Text, nullable=False, server_default="file"),
        sa.Column("total_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lane", sa.Text, nullable=False, server_default="send"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("run_at", MOMENT),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_token", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_owner", sa.Text),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("deferrals", sa.Integer, nullable=False, server_default="0"),
        sa.Column("polls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("open_id", sa.Text),
        sa.Column("username", sa.Text),
        sa.Column("publish_id", sa.Text),
        sa.Column("upload_url", sa.Text),
        sa.Column("upload_expires_at", MOMENT),
        sa.Column("sent_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("streamed_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_chunk_intended", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("irrevocable_since", MOMENT),
        sa.Column("submitted_at", MOMENT),
        sa.Column("upload_ended_at", MOMENT),
        sa.Column("upload_ended_code", sa.Text),
        sa.Column("refused_since", MOMENT),
        sa.Column("tiktok_status", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("tiktok_video_id", sa.Text),
        sa.Column("reason", JSONB),
        sa.Column("last_event", JSONB),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="pk_publish_jobs"),
        sa.UniqueConstraint("post_id", "attempt", name="uq_publish_jobs_post_id_attempt"),
    )
    for name, columns, condition in (
        ("ix_publish_jobs_due", ["lane", "run_at"], "run_at IS NOT NULL"),
        ("ix_publish_jobs_publish_id", ["publish_id"], "publish_id IS NOT NULL"),
        ("ix_publish_jobs_finished", ["finished_at"], "finished_at IS NOT NULL"),
    ):
        op.create_index(name, "publish_jobs", columns, postgresql_where=sa.text(condition))
