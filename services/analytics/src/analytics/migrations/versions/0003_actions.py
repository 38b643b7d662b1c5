"""Records of a rare action are found without reading all of a user's; its text compares byte by byte everywhere."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute('ALTER TABLE audit.records ALTER COLUMN action TYPE text COLLATE "C"')
    op.create_index("ix_records_user_id_action_time_id", "records", ["user_id", "action", "time", "id"], schema="audit")
