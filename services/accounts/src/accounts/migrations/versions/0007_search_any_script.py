"""Search by pieces of one and two characters in place of trigrams, whose letters depend on the database's locale.

The database makes the pieces itself, so that a replica of the version before this goes on storing accounts as before. The extension
pg_trgm is left: this service's role need not be the one that owns it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0007"
down_revision = "0006"

INDEX = "ix_tiktok_accounts_search_connected"
PIECES = """
CREATE FUNCTION search_pieces(given text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ARRAY(
    SELECT DISTINCT substr(given, place, size) COLLATE "C"
    FROM generate_series(1, length(given)) AS place, generate_series(1, 2) AS size
)
"""


def upgrade() -> None:
    op.execute(PIECES)
    op.drop_index(INDEX, "tiktok_accounts")
    pieces = sa.Computed("search_pieces(search_text)", persisted=True)
    op.add_column("tiktok_accounts", sa.Column("search_pieces", ARRAY(sa.Text), pieces, nullable=False))
    op.create_index(
        INDEX,
        "tiktok_accounts",
        ["user_id", "search_pieces"],
        postgresql_using="gin",
        postgresql_where=sa.text("disconnected_at IS NULL"),
    )
