"""Connecting to RabbitMQ again and again, for as long as a component lives."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from common.cancellation import is_own_cancellation

RECONNECT_FIRST_S = 0.1
RECONNECT_MAX_S = 2.0

_log = structlog.get_logger(__name__)


async def stay_connected(
    name: str, connected_once: Callable[[], Awaitable[None]], *, at_most: float = RECONNECT_MAX_S
) -> NoReturn:
    """Call `connected_once`, which connects and returns or raises when the connection is lost, until this task is cancelled.

    Between two calls it pauses: 0.1 s, and after each failure in a row twice as long, up to `at_most` seconds, with jitter.
    """
    failures = 0
    while True:
        try:
            await connected_once()
            failures = 0
        except (Exception, asyncio.CancelledError) as error:
            # A stuck connection cancels what waits on it; only a cancellation of this very task is a stop.
            if isinstance(error, asyncio.CancelledError) and is_own_cancellation():
                raise
            failures += 1
            _log.warning("broker_away", connection=name, reason=type(error).__name__, failures=failures)
        ceiling = min(RECONNECT_FIRST_S * 2 ** min(failures, 10), at_most)
        await asyncio.sleep(ceiling * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
