"""What the scheduler measures for Prometheus besides requests; docs/operations.md says what to alarm on."""

from prometheus_client import Gauge

UNCHECKED = Gauge("cuepost_preflight_unchecked", "Posts due soon that no check has looked at yet as they are.")
