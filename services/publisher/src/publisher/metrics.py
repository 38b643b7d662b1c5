"""What the publisher counts and measures for Prometheus; docs/operations.md says what to alarm on."""

from prometheus_client import Counter, Gauge, Histogram

BREAKER_OPEN = Gauge("cuepost_publisher_breaker_open", "Whether nothing is sent to a TikTok endpoint: 1 or 0.", ["endpoint"])
BREAKERS_OPENED = Counter("cuepost_publisher_breakers_opened_total", "How often a circuit breaker opened.", ["endpoint"])
QUOTA_WAITS = Counter("cuepost_publisher_quota_waits_total", "Waits for one of TikTok's limits, by limit.", ["limit"])
"""`init`, `turn` (room, but posts of the account come first), `creator_info`, `status`, `daily_posts`, `pending_drafts`,
`active_users`."""
REFUSED_LIMITS = Counter(
    "cuepost_publisher_limits_refused_total", "Refusals of TikTok for a limit that seemed free, by limit.", ["limit"]
)
ACCOUNTS_HELD = Counter("cuepost_publisher_accounts_held_total", "Refusals that held an account's posts, by code.", ["code"])
LATENESS = Histogram(
    "cuepost_publisher_lateness_seconds",
    "From the moment an attempt was due to the commit of its claim, of attempts that began.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 1800, 7200),
)
