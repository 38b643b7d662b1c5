"""What accounts counts and measures for Prometheus; docs/operations.md says what to alarm on."""

from prometheus_client import Counter, Gauge

LOGINS = Counter("cuepost_logins_total", "Attempts at a password: logins, and changes of it.", ["outcome"])
"""`ok`, `invalid_credentials`, `too_many_attempts` (slowed down), `busy` (no place to hash the password)."""

SESSION_REFRESHES = Counter("cuepost_session_refreshes_total", "Uses of refresh tokens of sessions.", ["outcome"])
"""`ok`, `invalid_refresh_token`, `refresh_token_reused` (the session was ended)."""

TOKEN_REFRESHES = Counter(
    "cuepost_token_refreshes_total", "Refreshes of TikTok's token pairs that were carried out.", ["outcome"]
)
"""`ok`, `failed` (tried again), `crashed` (tried again), and those that expired the account: `refused`, `answer_lost`, `lapsed`,
`other_creator`."""

TOKENS_DUE = Gauge("cuepost_tokens_due", "TikTok token pairs whose refresh should have been done by now.")
TOKENS_OVERDUE = Gauge("cuepost_tokens_overdue", "TikTok token pairs whose refresh should have been done a minute ago.")
OLDEST_OVERDUE = Gauge(
    "cuepost_tokens_oldest_overdue_seconds", "For how long the refresh of a TikTok token pair has been overdue at most."
)

WITHDRAWALS_PUT_OFF = Counter(
    "cuepost_withdrawals_put_off_total",
    "Looks at withdrawals of access that TikTok told of and would not confirm or deny yet.",
)

for _outcome in ("ok", "invalid_credentials", "too_many_attempts", "busy"):
    LOGINS.labels(_outcome)
for _outcome in ("ok", "invalid_refresh_token", "refresh_token_reused"):
    SESSION_REFRESHES.labels(_outcome)
for _outcome in ("ok", "failed", "crashed", "refused", "answer_lost", "lapsed", "other_creator"):
    TOKEN_REFRESHES.labels(_outcome)
