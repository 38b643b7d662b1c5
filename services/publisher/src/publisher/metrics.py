"""What the publisher counts and measures for Prometheus; docs/operations.md says what to alarm on."""

from prometheus_client import Counter, Gauge

BREAKER_OPEN = Gauge("cuepost_publisher_breaker_open", "Whether nothing is sent to a TikTok endpoint: 1 or 0.", ["endpoint"])
BREAKERS_OPENED = Counter("cuepost_publisher_breakers_opened_total", "How often a circuit breaker opened.", ["endpoint"])
QUOTA_WAITS = Counter("cuepost_publisher_quota_waits_total", "Waits for one of TikTok's limits, by limit.", ["limit"])
"""`init`, `turn` (room, but posts of the account come first), `creator_info`, `status`, `daily_posts`, `pending_drafts`,
`active_users`."""
REFUSED_LIMITS = Counter(
    "cuepost_publisher_limits_refused_total", "Refusals of TikTok for a limit that seemed free, by limit.", ["limit"]
)
ACCOUNTS_HELD = Counter("cuepost_publisher_accounts_held_total", "Refusals that held an account's posts, by code.", ["code"])
