"""Due jobs are found by user, too: one user's many hold up no other's."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0011"
down_revision = "publisher_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_publish_jobs_users", "publish_jobs", ["lane", "user_id", "run_at"], postgresql_where=sa.text("run_at IS NOT NULL")
    )
