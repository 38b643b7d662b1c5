"""The owner keeps how long the trail is kept: the service may ask for longer, never for shorter."""

from alembic import op

from common.database.migrate import service_role

revision = "0007"
down_revision = "0006"

TABLE = """
CREATE TABLE audit.retention (
    only_row boolean CONSTRAINT pk_retention PRIMARY KEY DEFAULT true CONSTRAINT ck_retention_only_row CHECK (only_row),
    days integer NOT NULL CONSTRAINT ck_retention_days CHECK (days BETWEEN 31 AND 36500)
)
"""

KEEP = """
CREATE FUNCTION audit.keep_at_least(wanted integer)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO audit.retention AS kept (days) VALUES (wanted)
    ON CONFLICT (only_row) DO UPDATE SET days = excluded.days WHERE kept.days < excluded.days;
    RETURN (SELECT days FROM audit.retention);
END $$
"""

# As in 0004, but for the days.
DROP = """
CREATE OR REPLACE FUNCTION audit.drop_month(month date, first_seq bigint, last_seq bigint, last_hash bytea,
                                            last_recorded_at timestamptz, signed_at timestamptz, key bytea, signature bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'records_' || to_char(month, 'YYYY_MM');
    kept integer := coalesce((SELECT days FROM audit.retention), 31);
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
    IF (month + interval '1 month') AT TIME ZONE 'UTC' > now() - make_interval(days => kept) THEN
        RAISE EXCEPTION '% ended less than % days ago', part, kept USING ERRCODE = 'insufficient_privilege';
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
    role = op.get_bind().dialect.identifier_preparer.quote(service_role())
    op.execute(TABLE)
    op.execute(KEEP)
    op.execute(DROP)
    op.execute("REVOKE ALL ON FUNCTION audit.keep_at_least FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION audit.keep_at_least TO {role}")
