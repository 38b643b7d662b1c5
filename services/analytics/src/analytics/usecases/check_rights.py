"""Whether this service can do with the audit trail only what it should."""

from analytics.storage.records import writable_beyond_appending
from common.database import Database


async def check_rights(database: Database) -> str | None:
    """Return None, or why the trail proves less than it promises here (readiness)."""
    async with database.read() as connection:
        if await writable_beyond_appending(connection):
            return "this role may change the audit trail: run as another role than the one that migrates"
    return None
