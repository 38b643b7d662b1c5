"""A roll-up of posts by user and day, and triggers that note which days have changed since."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0006"
down_revision = "0005"

COLUMNS = "user_id, placed_at, state, attempt, progress, progress_attempt, lateness_ms, error_code"

FUNCTION = f"""
CREATE FUNCTION public.note_changed_post_days() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.stats_post_days_changed (user_id, day, changed_at)
        SELECT DISTINCT user_id, CAST(placed_at AT TIME ZONE 'UTC' AS date), statement_timestamp() FROM new_rows ORDER BY 1, 2
        ON CONFLICT (user_id, day) DO UPDATE SET changed_at = excluded.changed_at;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO public.stats_post_days_changed (user_id, day, changed_at)
        SELECT DISTINCT user_id, CAST(placed_at AT TIME ZONE 'UTC' AS date), statement_timestamp()
        FROM (
            (SELECT post_id, {COLUMNS} FROM new_rows EXCEPT SELECT post_id, {COLUMNS} FROM old_rows)
            UNION ALL (SELECT post_id, {COLUMNS} FROM old_rows EXCEPT SELECT post_id, {COLUMNS} FROM new_rows)
        ) AS changed ORDER BY 1, 2
        ON CONFLICT (user_id, day) DO UPDATE SET changed_at = excluded.changed_at;
    ELSE
        INSERT INTO public.stats_post_days_changed (user_id, day, changed_at)
        SELECT DISTINCT user_id, CAST(placed_at AT TIME ZONE 'UTC' AS date), statement_timestamp() FROM old_rows ORDER BY 1, 2
        ON CONFLICT (user_id, day) DO UPDATE SET changed_at = excluded.changed_at;
    END IF;
    RETURN NULL;
END $$
"""  # noqa: S608 - of a constant

TRIGGERS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
}


def upgrade() -> None:
    op.create_table(
        "stats_post_days",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("states", JSONB, nullable=False),
        sa.Column("failures", JSONB, nullable=False),
        sa.Column("lateness_steps", ARRAY(sa.Integer), nullable=False),
        sa.Column("lateness_counts", ARRAY(sa.Integer), nullable=False),
        sa.Column("lateness_max", sa.Double),
        sa.PrimaryKeyConstraint("user_id", "day", name="pk_stats_post_days"),
    )
    op.create_table(
        "stats_post_days_changed",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "day", name="pk_stats_post_days_changed"),
    )
    op.create_index("ix_stats_post_days_changed_changed_at", "stats_post_days_changed", ["changed_at"])
    op.execute(FUNCTION)
    for event, tables in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER note_{event.lower()} AFTER {event} ON stats_posts {tables}"
            " FOR EACH STATEMENT EXECUTE FUNCTION public.note_changed_post_days()"
        )
    op.execute(
        "INSERT INTO stats_post_days_changed (user_id, day, changed_at)"
        " SELECT DISTINCT user_id, CAST(placed_at AT TIME ZONE 'UTC' AS date), now() FROM stats_posts"
    )
