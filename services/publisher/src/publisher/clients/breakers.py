"""A circuit breaker per endpoint of TikTok: after failures in a row nothing is sent there for a while, then one call tries.

Each replica has its own: it learns within a few calls, and a fault of its own way to TikTok stops no other.
"""

import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, TypeVar

import structlog
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import Context, OpenedState

from publisher.metrics import BREAKER_OPEN, BREAKERS_OPENED
from tiktok.errors import TikTokError, TikTokUnavailable

T = TypeVar("T")

PROBE_WAIT_SECONDS = 5.0
"""When to ask again while another call tries whether the endpoint is back."""

_log = structlog.get_logger(__name__)


class Endpoint(StrEnum):
    """What fails together at TikTok."""

    CREATOR_INFO = "creator_info"
    INIT = "init"
    UPLOAD = "upload"
    STATUS = "status"
    CANCEL = "cancel"
    VIDEOS = "videos"


class BreakerOpen(Exception):
    """Nothing was sent: the endpoint has failed again and again; ask again in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait


class Breakers:
    """Lets calls through while their endpoint answers. A refusal is an answer; a 5xx, a timeout or no connection is none."""

    def __init__(self, *, failures: int, open_seconds: float) -> None:
        self._factory = AsyncCircuitBreakerFactory(default_threshold=failures, default_ttl=open_seconds)
        self._factory.add_listener(_tell)
        self._trying: set[Endpoint] = set()
        for endpoint in Endpoint:
            BREAKER_OPEN.labels(endpoint.value).set(0)

    async def call(
        self, endpoint: Endpoint, send: Callable[[], Awaitable[T]], *, is_failure: Callable[[T], bool] = lambda _: False
    ) -> T:
        """Return what `send` returns; `is_failure` says of a result that it is one. Raises BreakerOpen before anything is sent."""
        breaker = await self._factory.get_breaker(endpoint.value)
        context = breaker.context
        context.exclude_list = [(BaseException, lambda error: not _counts(error, context))]
        tries = context.state != "closed"
        if tries and endpoint in self._trying:
            raise BreakerOpen(PROBE_WAIT_SECONDS)
        try:
            async with breaker:
                if tries:
                    self._trying.add(endpoint)
                return _answer(await send(), is_failure)
        except _FailedResult as failed:
            answer: T = failed.result
            return answer
        except OpenedState:
            raise BreakerOpen(_remaining(context)) from None
        finally:
            if tries:
                self._trying.discard(endpoint)


def _answer(result: T, is_failure: Callable[[T], bool]) -> T:
    """Return the result; as an exception, for the breaker to count, when it is a failure."""
    if is_failure(result):
        raise _FailedResult(result)
    return result


class _FailedResult(Exception):
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def _counts(error: BaseException, context: Context) -> bool:
    """Whether an exception is a failure of the endpoint. A try that ends without any word of TikTok's proves nothing good."""
    if isinstance(error, TikTokUnavailable | _FailedResult):
        return True
    return context.state == "half-opened" and not isinstance(error, TikTokError)


def _remaining(context: Context) -> float:
    opened_at = context.opened_at or 0.0
    return min(max(opened_at + float(context.ttl) - time.time(), 0.1), float(context.ttl))


def _tell(name: str, event_type: str, event: Any) -> None:
    if event_type != "state_changed":
        return
    BREAKER_OPEN.labels(name).set(event.state != "closed")
    if event.state == "opened":
        BREAKERS_OPENED.labels(name).inc()
    _log.warning("breaker_changed", endpoint=name, state=event.state)
