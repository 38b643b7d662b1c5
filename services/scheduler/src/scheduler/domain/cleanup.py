"""When things of the media library are removed."""

from dataclasses import dataclass
from datetime import timedelta

ORPHAN_WATCH_S = 3600.0
"""Longer than RabbitMQ leaves a delivery unacknowledged (30 minutes) and than all retries of a registration together take."""


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Files unused for that long (None: never); objects without a row, once so old and watched for so many seconds.

    Files without a verdict end once they were watched for as long.

    After `reply_retention` it is forgotten which upload brought a file.
    """

    unused_for: timedelta | None
    orphan_grace: timedelta
    reply_retention: timedelta
    orphan_watch: float = ORPHAN_WATCH_S
