"""Statistics: copies of accounts and posts, snapshots and metrics in months, their daily roll-up, and an outbox.

The service writes the rows; months are added and dropped by functions of the owner, for the two tables that have them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from common.database.migrate import service_role
from common.database.tables import new_metadata, outbox_table

revision = "0005"
down_revision = "0004"

MOMENT = sa.DateTime(timezone=True)
ACCOUNT_COUNTS = ("follower_count", "following_count", "likes_count", "video_count")
POST_COUNTS = ("view_count", "like_count", "comment_count", "share_count")

FUNCTIONS = """
CREATE FUNCTION public.add_statistics_month(of_table text, first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := of_table || to_char(first_day, '_YYYY_MM');
BEGIN
    IF of_table NOT IN ('account_snapshots', 'post_metrics') OR first_day <> date_trunc('month', first_day::timestamp)::date THEN
        RAISE EXCEPTION 'no month of statistics: % %', of_table, first_day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(1634627443);
    IF to_regclass('public.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, of_table);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', of_table, part,
                   first_day::timestamp AT TIME ZONE 'UTC', (first_day + interval '1 month') AT TIME ZONE 'UTC');
END $$;

CREATE FUNCTION public.drop_statistics_month(of_table text, first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF of_table NOT IN ('account_snapshots', 'post_metrics') OR (first_day + interval '1 month') AT TIME ZONE 'UTC' > now() THEN
        RAISE EXCEPTION 'not a past month of statistics: % %', of_table, first_day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(1634627443);
    EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', of_table);
    EXECUTE format('DROP TABLE IF EXISTS public.%I', of_table || to_char(first_day, '_YYYY_MM'));
END $$;
"""

MONTHS = """
SELECT public.add_statistics_month(of_table, month::date)
FROM unnest(ARRAY['account_snapshots', 'post_metrics']) of_table,
     generate_series(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month',
                     date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', interval '1 month') month
"""


def upgrade() -> None:
    outbox_table(new_metadata()).create(op.get_bind())
    _copies()
    _measures()
    role = op.get_bind().dialect.identifier_preparer.quote(service_role())
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for name in ("add_statistics_month", "drop_statistics_month"):
        op.execute(f"REVOKE ALL ON FUNCTION public.{name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION public.{name} TO {role}")
    op.execute(MONTHS)


def _copies() -> None:
    op.create_table(
        "projection",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_projection"),
    )
    op.create_table(
        "stats_accounts",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("snapshot_due_at", MOMENT),
        sa.Column("snapshot_failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("leased_until", MOMENT),
        sa.PrimaryKeyConstraint("account_id", name="pk_stats_accounts"),
    )
    op.create_index("ix_stats_accounts_user_id", "stats_accounts", ["user_id"])
    _index_where_known("stats_accounts", ["snapshot_due_at"], known="snapshot_due_at")
    op.create_table(
        "stats_posts",
        sa.Column("post_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("account_id", sa.Uuid),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("state_sequence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("outcome_sequence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("progress", sa.Text),
        sa.Column("progress_attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("progress_sequence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("heard_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("scheduled_at", MOMENT),
        sa.Column("placed_at", MOMENT, nullable=False),
        sa.Column("published_at", MOMENT),
        sa.Column("tiktok_video_id", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("lateness_ms", sa.Double),
        *(sa.Column(name, sa.BigInteger) for name in POST_COUNTS),
        sa.Column("measured_at", MOMENT),
        sa.Column("day_views", sa.BigInteger),
        sa.Column("metrics_due_at", MOMENT),
        sa.Column("metrics_failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("leased_until", MOMENT),
        sa.PrimaryKeyConstraint("post_id", name="pk_stats_posts"),
        # A post is changed several times soon after it was written: room for that on its page.
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("ix_stats_posts_heard_at", "stats_posts", ["heard_at"], postgresql_using="brin")
    op.create_index("ix_stats_posts_user_id_placed_at", "stats_posts", ["user_id", "placed_at"])
    _index_where_known("stats_posts", ["account_id", "metrics_due_at"], known="metrics_due_at")
    _index_where_known("stats_posts", ["metrics_due_at"], known="metrics_due_at")
    _index_where_known("stats_posts", ["user_id", "published_at"], known="published_at")


def _measures() -> None:
    op.create_table(
        "account_snapshots",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("collected_at", MOMENT, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ACCOUNT_COUNTS),
        sa.PrimaryKeyConstraint(
            "account_id", "hour", name="pk_account_snapshots", postgresql_include=["collected_at", *ACCOUNT_COUNTS]
        ),
        postgresql_partition_by="RANGE (hour)",
    )
    op.create_table(
        "account_days",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("collected_at", MOMENT, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ACCOUNT_COUNTS),
        sa.PrimaryKeyConstraint("account_id", "day", name="pk_account_days"),
    )
    op.create_index("ix_account_days_day", "account_days", ["day"])
    op.create_table(
        "post_metrics",
        sa.Column("post_id", sa.Uuid, nullable=False),
        sa.Column("collected_at", MOMENT, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in POST_COUNTS),
        sa.PrimaryKeyConstraint("post_id", "collected_at", name="pk_post_metrics"),
        postgresql_partition_by="RANGE (collected_at)",
    )
    op.create_table(
        "tiktok_call_pace",
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("booked_until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name="pk_tiktok_call_pace"),
    )


def _index_where_known(table: str, columns: list[str], *, known: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns, postgresql_where=sa.text(f"{known} IS NOT NULL"))
