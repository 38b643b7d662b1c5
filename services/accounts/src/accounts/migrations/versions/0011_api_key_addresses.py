"""From where uses of API keys were told of: once an hour for each key and address, instead of for each key."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "api_key_addresses",
        sa.Column("address_hash", sa.LargeBinary, primary_key=True),
        sa.Column("api_key_id", sa.Uuid, sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_api_key_addresses_api_key_id_told_at", "api_key_addresses", ["api_key_id", "told_at"])
    op.create_index("ix_api_key_addresses_told_at", "api_key_addresses", ["told_at"])
