"""What analytics counts and measures for Prometheus; docs/operations.md says what to alarm on."""

from prometheus_client import Counter, Gauge

SNAPSHOTS = Counter("cuepost_account_snapshots_total", "Looks at accounts for their hourly snapshot.", ["outcome"])
"""`ok`, `known` (the hour had one), `failed` (tried again in the hour), `missed` (the hour stays without), `not_allowed` (paused,
expired, gone or without the scope), `no_turn` (the quota had no room, it stays due)."""

VIDEO_LOOKS = Counter("cuepost_video_looks_total", "Looks at published videos for their numbers.", ["outcome"])
"""`ok`, `left_out` (TikTok does not show it), `failed` (tried again), `not_allowed`, `no_turn`; each video counts."""

OVERDUE = Gauge("cuepost_statistics_overdue", "Accounts and videos whose look should have been ten minutes ago.", ["kind"])
PROJECTION_BEHIND = Gauge("cuepost_statistics_behind_records", "Records of the trail that statistics have not read yet.")

AUDIT_RETENTION = Gauge("cuepost_audit_retention_days", "How long the audit trail is kept.", ["of"])
"""Of the `setting`, and of the `database`, which is what counts: its owner keeps the longest that it was ever told of."""

AUDIT_REFUSED = Gauge("cuepost_audit_month_refused", "1 while a month stays past its retention: see the log.")

for _outcome in ("ok", "known", "failed", "missed", "not_allowed", "no_turn"):
    SNAPSHOTS.labels(_outcome)
for _outcome in ("ok", "left_out", "failed", "not_allowed", "no_turn"):
    VIDEO_LOOKS.labels(_outcome)
for _kind in ("accounts", "videos"):
    OVERDUE.labels(_kind)
