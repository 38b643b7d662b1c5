"""Tables of the accounts database. Secrets are in them only sealed (`*_sealed`) or hashed (`*_hash`)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from common.database.tables import inbox_table, new_metadata, outbox_table

metadata = new_metadata()
outbox_messages = outbox_table(metadata)
inbox_messages = inbox_table(metadata)

_Moment = DateTime(timezone=True)


def _created() -> Column[object]:
    return Column("created_at", _Moment, nullable=False, server_default=func.now())


def _user() -> Column[object]:
    return Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False)


users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False, unique=True),
    Column("username", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    _created(),
    Column("updated_at", _Moment, nullable=False, server_default=func.now()),
)

login_throttles = Table(
    "login_throttles",
    metadata,
    Column("subject_hash", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", _Moment, nullable=False),
    Column("last_failed_at", _Moment, nullable=False),
    Index(None, "last_failed_at"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    _user(),
    _created(),
    Column("expires_at", _Moment, nullable=False),
    Column("revoked_at", _Moment),
    Column("revoke_reason", Text),
    Column("tokens_expire_at", _Moment),
    Column("refreshes", Integer, nullable=False, server_default="0"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
    Index(None, "revoked_at", postgresql_where=text("revoked_at IS NOT NULL")),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    _created(),
    Column("expires_at", _Moment, nullable=False),
    Column("used_at", _Moment),
    Index(None, "session_id", "used_at"),
    Index(None, "expires_at", postgresql_where=text("used_at IS NULL")),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    _user(),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _created(),
    Column("expires_at", _Moment),
    Column("last_used_at", _Moment),
    # When it was told last that a key is used from more addresses than are told of one by one.
    Column("use_told_at", _Moment),
    Column("revoked_at", _Moment),
    Index(None, "user_id"),
    Index(None, "revoked_at", postgresql_where=text("revoked_at IS NOT NULL")),
)

# From where uses of a key were told of lately, by the hash of key and address; rows are removed an hour after.
api_key_addresses = Table(
    "api_key_addresses",
    metadata,
    Column("address_hash", LargeBinary, primary_key=True),
    Column("api_key_id", Uuid, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    Column("told_at", _Moment, nullable=False),
    Index(None, "api_key_id", "told_at"),
    Index(None, "told_at"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("private_key_sealed", LargeBinary, nullable=False),
    _created(),
    Column("active_from", _Moment, nullable=False, server_default=func.now()),
    Column("retired_at", _Moment),
)

oauth_states = Table(
    "oauth_states",
    metadata,
    Column("state_hash", LargeBinary, primary_key=True),
    _user(),
    Column("code_verifier_sealed", LargeBinary, nullable=False),
    Column("return_url", Text),
    _created(),
    Column("expires_at", _Moment, nullable=False),
    Index(None, "expires_at"),
)

tiktok_accounts = Table(
    "tiktok_accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    _user(),
    Column("open_id", Text, nullable=False),
    Column("union_id", Text),
    Column("username", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("avatar_url", Text),
    Column("search_text", Text, nullable=False),
    Column("search_pieces", ARRAY(Text), Computed("search_pieces(search_text)", persisted=True), nullable=False),
    Column("status", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("follower_count", BigInteger, nullable=False, server_default="0"),
    Column("following_count", BigInteger, nullable=False, server_default="0"),
    Column("likes_count", BigInteger, nullable=False, server_default="0"),
    Column("video_count", BigInteger, nullable=False, server_default="0"),
    Column("last_synced_at", _Moment),
    Column("last_error", Text),
    Column("version", Integer, nullable=False),
    _created(),
    Column("updated_at", _Moment, nullable=False, server_default=func.now()),
    Column("disconnected_at", _Moment),
    Column("paused", Boolean, nullable=False, server_default=false()),
    CheckConstraint("status IN ('active', 'inactive', 'expired')", name="status"),
    UniqueConstraint("user_id", "open_id"),
    Index("uq_tiktok_accounts_open_id_connected", "open_id", unique=True, postgresql_where=text("disconnected_at IS NULL")),
    Index("ix_tiktok_accounts_user_id_id_connected", "user_id", "id", postgresql_where=text("disconnected_at IS NULL")),
    Index(
        "ix_tiktok_accounts_search_connected",
        "user_id",
        "search_pieces",
        postgresql_using="gin",
        postgresql_where=text("disconnected_at IS NULL"),
    ),
)

# What TikTok refused last of an account's posts of a mode, and when it took one. A refusal stands while nothing was taken since.
account_refusals = Table(
    "account_refusals",
    metadata,
    Column("account_id", Uuid, ForeignKey("tiktok_accounts.id", ondelete="CASCADE"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("code", Text),
    Column("message", Text),
    Column("refused_at", _Moment),
    Column("accepted_at", _Moment),
    PrimaryKeyConstraint("account_id", "mode"),
)

account_tokens = Table(
    "account_tokens",
    metadata,
    Column("account_id", Uuid, ForeignKey("tiktok_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("pair_id", Uuid, nullable=False),
    Column("access_token_sealed", LargeBinary, nullable=False),
    Column("refresh_token_sealed", LargeBinary, nullable=False),
    Column("obtained_at", _Moment, nullable=False),
    Column("refresh_due_at", _Moment, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    Column("refresh_expires_at", _Moment, nullable=False),
    Column("lease_id", Uuid),
    Column("lease_until", _Moment),
    Column("next_refresh_at", _Moment),
    Column("refresh_failures", Integer, nullable=False, server_default="0"),
    Column("interrupted_at", _Moment),
    Index(None, "next_refresh_at", postgresql_where=text("next_refresh_at IS NOT NULL")),
)

grant_revocations = Table(
    "grant_revocations",
    metadata,
    Column("account_id", Uuid, ForeignKey("tiktok_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("requested_at", _Moment, nullable=False, server_default=func.now()),
    Column("due_at", _Moment, nullable=False),
    Column("deadline_at", _Moment, nullable=False),
    Column("claim_id", Uuid),
    Column("calling_until", _Moment),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("finished_at", _Moment),
    Column("outcome", Text),
    Index("ix_grant_revocations_due", "due_at", postgresql_where=text("finished_at IS NULL")),
    Index(None, "finished_at"),
)

tiktok_call_pace = Table(
    "tiktok_call_pace",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("booked_until", _Moment, nullable=False),
)

encryption_key_holders = Table(
    "encryption_key_holders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("fingerprints", ARRAY(Text), nullable=False),
    Column("refused", Text),
    Column("seen_at", _Moment, nullable=False),
)
