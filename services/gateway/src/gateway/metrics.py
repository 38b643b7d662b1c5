"""What the gateway measures for Prometheus besides requests; docs/operations.md says what to alarm on."""

from prometheus_client import Counter, Gauge, Histogram

REVOCATIONS_AGE = Gauge(
    "cuepost_gateway_revocations_age_seconds", "Seconds since everything that was revoked was read from accounts."
)
REVOCATIONS_FRESH = Gauge("cuepost_gateway_revocations_fresh", "1 while tokens are accepted, 0 while all are refused (503).")
REVOCATION_DELAY = Histogram(
    "cuepost_gateway_revocation_delay_seconds",
    "From the moment a session or key was revoked to the moment this gateway heard of it by an event.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
)
RATE_LIMITS_SHARED = Gauge(
    "cuepost_gateway_rate_limits_shared",
    "1 while requests are counted where RATE_LIMIT_STORAGE says, 0 while each replica counts.",
)
LIVE_STREAMS = Gauge("cuepost_gateway_live_streams", "Live streams that are open.")
LIVE_EVENTS = Counter("cuepost_gateway_live_events_total", "Events given to live streams, counted once per stream.")
