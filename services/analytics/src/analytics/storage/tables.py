"""Tables of analytics."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Table, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB

from common.database.tables import new_metadata

metadata = new_metadata()

events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("user_id", Uuid),
    Column("actor", Text),
    Column("client_ip", Text),
    Column("user_agent", Text),
    Column("correlation_id", Text),
    Column("causation_id", Text),
    Column("sequence", BigInteger),
    Column("action", Text, nullable=False),
    Column("object_type", Text, nullable=False),
    Column("object_id", Text),
    Column("result", Text, nullable=False),
    Column("reason", Text),
    Column("changes", JSONB(none_as_null=True)),
    Column("data", JSONB, nullable=False),
    Column("again", Boolean, nullable=False, server_default="false"),
    Index(None, "user_id", "time", "id"),
    Index(None, "object_id", "time"),
    postgresql_partition_by="RANGE (id)",
)
"""Every event, once, with its audit side as it was understood when it was stored.

Partitioned by month through ranges of `id` (UUIDv7), so the primary key on `id` alone deduplicates over all partitions, and
old months are dropped as a whole. `again` marks what was only told again (answers to the sweep): kept, but neither in the
audit trail nor in timelines. Ids outside every month (another UUID version, a clock far off) lie in `events_default`.
"""
