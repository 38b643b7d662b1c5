"""What was ever written into a service's outbox: its database keeps a copy, however soon a relay takes the message out again."""

from sqlalchemy import text

from common.contracts.envelope import Envelope
from common.database import Database

_KEEP = """
CREATE SCHEMA kept;
CREATE TABLE kept.messages (id uuid PRIMARY KEY, body bytea NOT NULL);
CREATE FUNCTION kept.keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- What a relay could not send comes back.
  INSERT INTO kept.messages SELECT id, body FROM written ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER keep AFTER INSERT ON outbox_messages REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION kept.keep();
"""


async def keep_outbox(database: Database) -> None:
    """Have the database keep every message from now on; harmless when it does already. They go with all rows between two tests."""
    async with database.transaction() as tx:
        if await tx.driver.fetchval("SELECT to_regclass('kept.messages')") is None:
            await tx.driver.execute(_KEEP)


async def kept_messages(database: Database) -> list[Envelope]:
    """Return the kept messages that were committed, in the order in which they were made."""
    async with database.read() as connection:
        rows = await connection.execute(text("SELECT body FROM kept.messages ORDER BY id"))
        return [Envelope.model_validate_json(row.body) for row in rows]
