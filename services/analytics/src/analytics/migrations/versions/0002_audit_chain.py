"""The audit trail: append-only for the service's role, chained by hashes, in months; takes over the events stored so far.

What hashes and names mean is frozen here as it was at this version, on purpose.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA

from common.database.migrate import service_role

revision = "0002"
down_revision = "0001"

AHEAD = 3
BATCH = 2_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TEXTS = ("actor", "client_ip", "user_agent", "correlation_id", "causation_id")
AUDIT = ("action", "object_type", "object_id", "result", "reason", "changes", "data", "again")
COLUMNS = ("id", "key", "source", "subject", "time", "user_id", *TEXTS, "sequence", *AUDIT)

FUNCTIONS = """
CREATE FUNCTION audit.add_month(first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'records_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF first_day <> date_trunc('month', first_day::timestamp)::date THEN
        RAISE EXCEPTION '% is not the first day of a month', first_day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(1634626927);
    IF to_regclass('audit.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Attached, not created as a partition: that would hold up every reader.
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.records INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
    EXECUTE format('ALTER TABLE audit.records ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)', part,
                   first_day::timestamp AT TIME ZONE 'UTC', (first_day + interval '1 month') AT TIME ZONE 'UTC');
END $$;

CREATE FUNCTION audit.drop_month(month date, first_seq bigint, last_seq bigint, last_hash bytea, last_recorded_at timestamptz,
                                 signed_at timestamptz, key bytea, signature bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'records_' || to_char(month, 'YYYY_MM');
    oldest text;
    first_row record;
    last_row record;
BEGIN
    PERFORM pg_advisory_xact_lock(1634626927);
    SELECT min(relname) INTO oldest FROM pg_inherits JOIN pg_class ON oid = inhrelid
    WHERE inhparent = 'audit.records'::regclass;
    IF part IS DISTINCT FROM oldest THEN
        RAISE EXCEPTION '% is not the oldest month, which is %', part, oldest USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (month + interval '1 month') AT TIME ZONE 'UTC' > now() - interval '31 days' THEN
        RAISE EXCEPTION '% ended less than 31 days ago', part USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('LOCK TABLE audit.%I IN ACCESS EXCLUSIVE MODE', part);
    EXECUTE format('SELECT seq FROM audit.%I ORDER BY recorded_at, seq LIMIT 1', part) INTO first_row;
    EXECUTE format('SELECT seq, hash, recorded_at FROM audit.%I ORDER BY recorded_at DESC, seq DESC LIMIT 1', part)
    INTO last_row;
    IF (first_row.seq, last_row.seq, last_row.hash, last_row.recorded_at)
       IS DISTINCT FROM (first_seq, last_seq, last_hash, last_recorded_at) THEN
        RAISE EXCEPTION 'the checkpoint does not fit %', part USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF last_seq IS NOT NULL THEN
        INSERT INTO audit.checkpoints (month, first_seq, last_seq, last_hash, last_recorded_at, signed_at, key, signature)
        VALUES (month, first_seq, last_seq, last_hash, last_recorded_at, signed_at, key, signature);
    END IF;
    EXECUTE format('DROP TABLE audit.%I', part);
END $$;
"""

MONTHS = f"""
SELECT audit.add_month(month::date)
FROM (SELECT least(min(received_at), now()) AT TIME ZONE 'UTC' AS oldest, now() AT TIME ZONE 'UTC' AS now FROM events) times,
     generate_series(date_trunc('month', oldest), date_trunc('month', now) + interval '{AHEAD} months', interval '1 month') month
"""  # noqa: S608 - of a constant


def upgrade() -> None:
    role = service_role()
    op.execute("CREATE SCHEMA audit")
    _tables()
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    _take_over()
    op.drop_table("events")
    _grant(role)


def _tables() -> None:
    op.create_table(
        "records",
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Uuid),
        *(sa.Column(name, sa.Text) for name in TEXTS),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object_type", sa.Text, nullable=False),
        sa.Column("object_id", sa.Text),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("changes", sa.JSON),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("again", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("recorded_at", "seq", name="pk_records"),
        schema="audit",
        postgresql_partition_by="RANGE (recorded_at)",
    )
    op.create_index("ix_records_id", "records", ["id"], schema="audit")
    op.create_index("ix_records_user_id_time_id", "records", ["user_id", "time", "id"], schema="audit")
    op.create_index("ix_records_object_id_time", "records", ["object_id", "time"], schema="audit")
    op.create_table(
        "checkpoints",
        sa.Column("month", sa.Date, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("last_hash", sa.LargeBinary, nullable=False),
        sa.Column("last_recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("month", name="pk_checkpoints"),
        sa.UniqueConstraint("last_seq", name="uq_checkpoints_last_seq"),
        schema="audit",
    )


def _take_over() -> None:
    """Write the stored events as the beginning of the chain, in the order in which they had arrived."""
    connection = op.get_bind()
    op.execute(MONTHS)
    names = ", ".join(f"{name}::text AS {name}" if name in {"changes", "data"} else name for name in COLUMNS)
    op.execute(f"DECLARE old CURSOR FOR SELECT received_at, {names} FROM events ORDER BY received_at, id")  # noqa: S608 - of constants
    stored = ("seq", "recorded_at", "previous_hash", "hash", *COLUMNS)
    values = ", ".join(f"CAST(:{name} AS json)" if name in {"changes", "data"} else f":{name}" for name in stored)
    insert = sa.text(f"INSERT INTO audit.records ({', '.join(stored)}) VALUES ({values})").bindparams(  # noqa: S608 - of constants
        *(sa.bindparam(name, type_=type_) for name, type_ in _types().items())
    )
    seq, previous = 0, bytes(32)
    while rows := connection.execute(sa.text(f"FETCH {BATCH} FROM old")).all():
        chain: list[dict[str, Any]] = []
        for row in rows:
            seq += 1
            digest = sha256(orjson.dumps(_canonical(seq, previous, row))).digest()
            place = {"seq": seq, "recorded_at": row[0], "previous_hash": previous, "hash": digest}
            chain.append({**place, **dict(zip(COLUMNS, row[1:], strict=True))})
            previous = digest
        connection.execute(insert, chain)
    op.execute("CLOSE old")


def _types() -> dict[str, Any]:
    """Return the types that parameters of no value would not tell."""
    texts = dict.fromkeys((*TEXTS, "object_id", "reason", "changes", "data"), sa.Text())
    return {**texts, "user_id": sa.Uuid(), "sequence": sa.BigInteger(), "previous_hash": BYTEA(), "hash": BYTEA()}


def _canonical(seq: int, previous: bytes, row: Sequence[Any]) -> list[Any]:
    recorded_at, identifier, key, source, subject, time, user_id, *rest = row
    times = (recorded_at - EPOCH) // MICROSECOND, (time - EPOCH) // MICROSECOND
    user = None if user_id is None else str(user_id)
    return [1, seq, times[0], previous.hex(), str(identifier), key, source, subject, times[1], user, *rest]


def _grant(role: str) -> None:
    """Let the service append and read, ask for months, and do what it likes with later tables outside this schema."""
    role = op.get_bind().dialect.identifier_preparer.quote(role)
    op.execute(f"GRANT USAGE ON SCHEMA audit TO {role}")
    op.execute(f"GRANT SELECT, INSERT ON audit.records TO {role}")
    op.execute(f"GRANT SELECT ON audit.checkpoints TO {role}")
    for function in ("add_month", "drop_month"):
        op.execute(f"REVOKE ALL ON FUNCTION audit.{function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION audit.{function} TO {role}")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {role}")
