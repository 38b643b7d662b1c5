"""Tables that every service with a database has: outbox, inbox."""

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_metadata() -> MetaData:
    """Return metadata with the naming convention; each service has one."""
    return MetaData(naming_convention=NAMING)


def outbox_table(metadata: MetaData) -> Table:
    """Messages written with the state they tell of, until the relay has published them (transactional outbox).

    A row is whole: exchange, routing key and the envelope's bytes; it is removed once the broker confirmed it. One that the broker
    refused by itself waits until `not_before`, so that it holds up no other.
    """
    return Table(
        "outbox_messages",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("exchange", Text, nullable=False),
        Column("routing_key", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("refusals", Integer, nullable=False, server_default="0"),
        Column("not_before", DateTime(timezone=True)),
    )


def inbox_table(metadata: MetaData) -> Table:
    """Record what was handled already (idempotent consumer), and for commands the answer that was given.

    `reply` is null for events; beside the answer it has the `time` of the command's envelope. `replayable` is false for refusals:
    they are shown by the operation, but the command runs again when its client sends it again.
    """
    return Table(
        "inbox_messages",
        metadata,
        Column("consumer", Text, nullable=False),
        Column("message_id", Uuid, nullable=False),
        Column("user_id", Uuid),
        Column("request_hash", Text),
        Column("reply", JSONB),
        Column("replayable", Boolean, nullable=False, server_default="true"),
        Column("attempts", Integer, nullable=False, server_default="1"),
        Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        PrimaryKeyConstraint("consumer", "message_id"),
        Index(None, "received_at"),
    )


def create_shared_tables(op: Any) -> None:
    """Create outbox and inbox from a migration; `op` is `alembic.op`."""
    metadata = new_metadata()
    outbox_table(metadata)
    inbox_table(metadata)
    metadata.create_all(op.get_bind(), checkfirst=False)
