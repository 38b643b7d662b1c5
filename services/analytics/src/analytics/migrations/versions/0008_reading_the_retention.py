"""The service may read how long the trail is kept, so that it can tell when that is longer than its setting."""

from alembic import op

from common.database.migrate import service_role

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    role = op.get_bind().dialect.identifier_preparer.quote(service_role())
    op.execute(f"GRANT SELECT ON audit.retention TO {role}")
