"""Tables of the publisher's database."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from common.database.tables import inbox_table, new_metadata, outbox_table

metadata = new_metadata()
outbox = outbox_table(metadata)
inbox = inbox_table(metadata)

lease_tokens = Sequence("publish_lease_tokens", metadata=metadata)
"""Fencing tokens: each claim gets a greater one, and only the holder of the newest may write."""

_moment = DateTime(timezone=True)

BEGINS_SQL = "state IN ('queued', 'running') AND step IN ('queued', 'token', 'creator_info')"
"""Jobs in line to begin. Statements that use their index say it in the same words."""

publish_jobs = Table(
    "publish_jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("post_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    # What was asked for. Null only in a tombstone: an attempt cancelled before it was heard of.
    Column("post", JSONB),
    Column("user_id", Uuid),
    Column("account_id", Uuid),
    Column("correlation_id", Text),
    Column("causation_id", Text),
    Column("traceparent", Text),
    Column("due_at", _moment),
    Column("publish_before", _moment),
    Column("transfer", Text, nullable=False, server_default="file"),
    Column("total_bytes", BigInteger, nullable=False, server_default="0"),
    # Who may go on with it, and when. run_at is the end of the lease while there is one; null: nothing is due.
    Column("lane", Text, nullable=False, server_default="send"),
    Column("state", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("run_at", _moment),
    Column("lease_owner", Text),
    Column("lease_token", BigInteger, nullable=False, server_default="0"),
    Column("last_owner", Text),
    Column("sequence", BigInteger, nullable=False),
    Column("deferrals", Integer, nullable=False, server_default="0"),
    Column("polls", Integer, nullable=False, server_default="0"),
    # What is known of TikTok's side. upload_url is a capability, and sealed: it never leaves this table but to TikTok.
    Column("open_id", Text),
    Column("username", Text),
    Column("publish_id", Text),
    Column("upload_url", Text),
    # Of the init that was intended last: what it asked for, whatever the post says (sandbox mode).
    Column("sent_privacy_level", Text),
    # Of TikTok's answer to it, to quote when asking TikTok.
    Column("init_log_id", Text),
    Column("upload_expires_at", _moment),
    Column("sent_bytes", BigInteger, nullable=False, server_default="0"),
    Column("streamed_bytes", BigInteger, nullable=False, server_default="0"),
    Column("last_chunk_intended", Boolean, nullable=False, server_default="false"),
    Column("irrevocable_since", _moment),
    Column("submitted_at", _moment),
    Column("upload_ended_at", _moment),
    Column("upload_ended_code", Text),
    Column("refused_since", _moment),
    Column("tiktok_status", Text),
    # By the database's clock: when TikTok was asked that told this status.
    Column("status_at", _moment),
    Column("outcome", Text),
    Column("tiktok_video_id", Text),
    # By the database's clock: when the look at the ended job began that TikTok answered last. Other looks count for the plan alone.
    Column("answered_at", _moment),
    # Ids of the creator's videos that may be it, as the last list of them showed that could be read; null: none could.
    Column("possible_videos", ARRAY(Text)),
    # What was told last: reason for people, event for the sweep.
    Column("reason", JSONB),
    Column("last_event", JSONB),
    Column("created_at", _moment, nullable=False, server_default=func.now()),
    Column("started_at", _moment),
    Column("finished_at", _moment),
    Column("updated_at", _moment, nullable=False, server_default=func.now()),
    # It waits for its account to be active again; run_at is only when it looks by itself.
    Column("awaits_account", Boolean, nullable=False, server_default="false"),
    # The limit it waits for, or its turn within one.
    Column("awaits_quota", Text),
    # How far TikTok was asked to give up a fetch; null: nobody wants it stopped.
    Column("cancel_state", Text),
    # The file that was fetched from the post's address, as MediaFile, and when its bytes were removed again.
    Column("fetched", JSONB),
    Column("fetched_removed_at", _moment),
    # Set while somebody has it in hand: news came meanwhile, so it is due again as soon as it is handed back.
    Column("look_at_once", Boolean, nullable=False, server_default="false"),
    UniqueConstraint("post_id", "attempt"),
    Index("ix_publish_jobs_due", "lane", "run_at", postgresql_where=text("run_at IS NOT NULL")),
    Index("ix_publish_jobs_users", "lane", "user_id", "run_at", postgresql_where=text("run_at IS NOT NULL")),
    Index("ix_publish_jobs_publish_id", "publish_id", postgresql_where=text("publish_id IS NOT NULL")),
    Index("ix_publish_jobs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    Index("ix_publish_jobs_awaits_account", "account_id", postgresql_where=text("awaits_account")),
    Index("ix_publish_jobs_beginning", "account_id", "due_at", "post_id", postgresql_where=text(BEGINS_SQL)),
    Index("ix_publish_jobs_awaits_quota", "account_id", "awaits_quota", postgresql_where=text("awaits_quota IS NOT NULL")),
    Index(
        "ix_publish_jobs_fetched",
        "finished_at",
        postgresql_where=text("fetched IS NOT NULL AND fetched_removed_at IS NULL AND finished_at IS NOT NULL"),
    ),
    Index("ix_publish_jobs_video", "tiktok_video_id", postgresql_where=text("tiktok_video_id IS NOT NULL")),
    Index(
        "ix_publish_jobs_unsettled",
        "open_id",
        postgresql_where=text("state = 'unconfirmed' OR (state = 'succeeded' AND tiktok_video_id IS NULL)"),
    ),
)

# What TikTok's webhooks said of publications, one row each, in whatever order. Times by TikTok's clock, null: not said.
publication_claims = Table(
    "publication_claims",
    metadata,
    Column("publish_id", Text, nullable=False),
    Column("open_id", Text, nullable=False),
    Column("publish_type", Text),
    Column("completed_at", _moment),
    Column("delivered_at", _moment),
    Column("failed_at", _moment),
    Column("fail_reason", Text),
    Column("public_at", _moment),
    Column("not_public_at", _moment),
    Column("video_ids", ARRAY(Text), nullable=False, server_default="{}"),
    # By the database's clock: when the newest of it was heard.
    Column("heard_at", _moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("publish_id", "open_id"),
    Index("ix_publication_claims_open_id", "open_id", "completed_at"),
    Index("ix_publication_claims_heard_at", "heard_at"),
)

# Copies of accounts, fed by events. Status is null until the first one; `disconnected` is one of ours.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("status", Text),
    Column("version", BigInteger, nullable=False),
)

account_holds = Table(
    "account_holds",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("mode", Text, nullable=False),
    Column("reason", JSONB, nullable=False),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("look_at", _moment, nullable=False),
    PrimaryKeyConstraint("account_id", "mode"),
)

creator_infos = Table(
    "creator_infos",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("info", JSONB, nullable=False),
    Column("fetched_at", _moment, nullable=False),
)

# What counts against a limit: `calls` and `takers` side by side, oldest first. The last asker was told `granted` and `ahead`.
tiktok_quotas = Table(
    "tiktok_quotas",
    metadata,
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("calls", ARRAY(_moment), nullable=False, server_default="{}"),
    Column("takers", ARRAY(Uuid), nullable=False, server_default="{}"),
    Column("not_before", _moment),
    Column("granted", Boolean, nullable=False, server_default="false"),
    Column("ahead", Integer, nullable=False, server_default="0"),
    # Of an account's inits: how often a post has left its line without publishing.
    Column("moves", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("owner", "name"),
)
