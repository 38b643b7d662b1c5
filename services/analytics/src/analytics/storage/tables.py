"""Tables of analytics."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from common.database.tables import new_metadata

metadata = new_metadata()

SCHEMA = "audit"

LATE = "(time AT TIME ZONE 'UTC') < (recorded_at AT TIME ZONE 'UTC') - interval '24 hours'"
"""The records, few if any, that were written more than 24 hours after their own time; in a form that an index may have."""

records = Table(
    "records",
    metadata,
    Column("seq", BigInteger, nullable=False, autoincrement=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("key", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),
    Column("user_id", Uuid),
    Column("actor", Text),
    Column("client_ip", Text),
    Column("user_agent", Text),
    Column("correlation_id", Text),
    Column("causation_id", Text),
    Column("sequence", BigInteger),
    Column("action", Text(collation="C"), nullable=False),
    Column("object_type", Text, nullable=False),
    Column("object_id", Text),
    Column("result", Text, nullable=False),
    Column("reason", Text),
    Column("changes", JSON(none_as_null=True)),
    Column("data", JSON, nullable=False),
    Column("again", Boolean, nullable=False),
    PrimaryKeyConstraint("recorded_at", "seq"),
    Index(None, "id"),
    Index(None, "user_id", "time", "id"),
    Index(None, "user_id", "action", "time", "id"),
    Index(None, "object_id", "time"),
    Index("ix_records_user_id_recorded_at", "user_id", "recorded_at", postgresql_where=text(LATE)),
    schema=SCHEMA,
    postgresql_partition_by="RANGE (recorded_at)",
)
"""Every event, once, with its audit side as it was understood when it was stored, in one chain of hashes (`domain/record.py`).

The service's role may insert and select, and nothing else. Partitioned by the month in which a record was written, which never
goes back along the chain: a month is a stretch of it, and can be dropped as a whole. `changes` and `data` are `json`, not
`jsonb`: the text that was hashed stays as it is. `again` marks what was only told again (answers to the sweep): kept, but
neither in lists nor in timelines.
"""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("month", Date, primary_key=True),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False, unique=True),
    Column("last_hash", LargeBinary, nullable=False),
    Column("last_recorded_at", DateTime(timezone=True), nullable=False),
    Column("signed_at", DateTime(timezone=True), nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("dropped_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    schema=SCHEMA,
)
"""What stays of each month that was dropped (`domain/checkpoint.py`); written by the function that drops it, and by nobody else."""

retention = Table(
    "retention",
    metadata,
    Column(
        "only_row", Boolean, CheckConstraint("only_row", name="ck_retention_only_row"), primary_key=True, server_default="true"
    ),
    Column("days", Integer, CheckConstraint("days BETWEEN 31 AND 36500", name="ck_retention_days"), nullable=False),
    schema=SCHEMA,
)
"""How many days of the trail are kept at least; written by its owner alone, and by the owner's function `audit.keep_at_least`."""
