"""Which attempt the scheduler itself wanted stopped, because it cannot ask about it: nobody cancelled that post."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("posts", sa.Column("given_up_attempt", sa.Integer, nullable=False, server_default="0"))
