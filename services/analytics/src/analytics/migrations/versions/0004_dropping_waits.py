"""Dropping a month locks the whole table before the month, as its readers do: the other way round they met in a deadlock."""

from alembic import op

revision = "0004"
down_revision = "0003"

# As in 0002, but for the lock.
FUNCTION = """
CREATE OR REPLACE FUNCTION audit.drop_month(month date, first_seq bigint, last_seq bigint, last_hash bytea,
                                            last_recorded_at timestamptz, signed_at timestamptz, key bytea, signature bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'records_' || to_char(month, 'YYYY_MM');
    oldest text;
    first_row record;
    last_row record;
BEGIN
    PERFORM pg_advisory_xact_lock(1634626927);
    LOCK TABLE ONLY audit.records IN ACCESS EXCLUSIVE MODE;
    SELECT min(relname) INTO oldest FROM pg_inherits JOIN pg_class ON oid = inhrelid
    WHERE inhparent = 'audit.records'::regclass;
    IF part IS DISTINCT FROM oldest THEN
        RAISE EXCEPTION '% is not the oldest month, which is %', part, oldest USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (month + interval '1 month') AT TIME ZONE 'UTC' > now() - interval '31 days' THEN
        RAISE EXCEPTION '% ended less than 31 days ago', part USING ERRCODE = 'insufficient_privilege';
    END IF;
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
END $$
"""


def upgrade() -> None:
    op.execute(FUNCTION)
