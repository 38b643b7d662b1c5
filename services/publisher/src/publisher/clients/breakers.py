"""A circuit breaker per endpoint of TikTok: after failures in a row nothing is sent there for a while, then one call tries.

A failure that names a wait is enough by itself: all keep away until then.

Uploads go to many hosts that TikTok names; each host has a breaker of its own. Each replica has its own ones: it learns within a
few calls, and a fault of its own way to TikTok stops no other.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import structlog
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import Context, OpenedState

from publisher.metrics import BREAKER_OPEN, BREAKERS_OPENED
from tiktok.errors import TikTokError, TikTokUnavailable
from tiktok.failures import FailureKind

T = TypeVar("T")

PROBE_WAIT_SECONDS = 5.0
"""When to ask again while another call tries whether the endpoint is back."""
LONGEST_PAUSE_SECONDS = 600.0
"""How long a wait holds that TikTok names with a fault, at most: then one call tries."""
MAX_HOSTS = 64
"""So many hosts have a breaker at a time; the one that was used longest ago gives way, one that is open last of all."""

_log = structlog.get_logger(__name__)


class Endpoint(StrEnum):
    """What fails together at TikTok."""

    CREATOR_INFO = "creator_info"
    VIDEO_INIT = "video_init"
    INBOX_INIT = "inbox_init"
    CONTENT_INIT = "content_init"
    UPLOAD = "upload"
    STATUS = "status"
    CANCEL = "cancel"
    VIDEOS = "videos"


class BreakerOpen(Exception):
    """Nothing was sent: the endpoint has failed again and again, or has named a wait; ask again in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait


Branch = tuple[Endpoint, str]
"""What a breaker is about: an endpoint, and its host where that is not always the same."""


class Breakers:
    """Lets calls through while their endpoint answers.

    What TikTok refuses for a reason is an answer. A fault of its own is none, whatever the status it is told with, and neither is
    a timeout or no connection.
    """

    def __init__(self, *, failures: int, open_seconds: float) -> None:
        self._failures = failures
        self._open_seconds = open_seconds
        self._known: OrderedDict[Branch, AsyncCircuitBreakerFactory] = OrderedDict()
        self._open: set[Branch] = set()
        self._trying: set[Branch] = set()
        for endpoint in Endpoint:
            BREAKER_OPEN.labels(endpoint.value).set(0)

    async def call(
        self,
        endpoint: Endpoint,
        send: Callable[[], Awaitable[T]],
        *,
        host: str = "",
        is_failure: Callable[[T], bool] = lambda _: False,
        named_wait: Callable[[T], float | None] = lambda _: None,
    ) -> T:
        """Return what `send` returns. Raises BreakerOpen before anything is sent.

        `is_failure` says of a result that it is one, `named_wait` for how many seconds TikTok then wants to be left alone. With
        `host`, only what goes to that host fails together.
        """
        branch = (endpoint, host)
        breaker = await self._of(branch).get_breaker(endpoint.value)
        context = breaker.context
        context.exclude_list = [(BaseException, lambda error: not self._judge(error, context))]
        tries = context.state != "closed"
        if tries and branch in self._trying:
            raise BreakerOpen(PROBE_WAIT_SECONDS)
        try:
            async with breaker:
                if tries:
                    self._trying.add(branch)
                return _answer(await send(), is_failure, named_wait)
        except _FailedResult as failed:
            answer: T = failed.result
            return answer
        except OpenedState:
            raise BreakerOpen(_remaining(context)) from None
        finally:
            if tries:
                self._trying.discard(branch)

    async def is_well(self, endpoint: Endpoint) -> bool:
        """Whether the last call there was answered: what must not be lost is sent only then."""
        context = (await self._of((endpoint, "")).get_breaker(endpoint.value)).context
        return context.state == "closed" and not context.failure_count

    def _judge(self, error: BaseException, context: Context) -> bool:
        """Return whether an exception is a failure, with what it takes to open the breaker and for how long set for it."""
        pause = pause_of(error)
        if context.state != "opened":
            context.threshold, context.ttl = (self._failures, self._open_seconds) if pause is None else (1, pause)
        elif pause is not None:
            # Of a call that was under way when it opened.
            context.ttl = max(context.ttl, time.time() - (context.opened_at or 0.0) + pause)
        return _counts(error, context)

    def _of(self, branch: Branch) -> AsyncCircuitBreakerFactory:
        factory = self._known.get(branch)
        if factory is None:
            factory = AsyncCircuitBreakerFactory(default_threshold=self._failures, default_ttl=self._open_seconds)
            factory.add_listener(partial(self._tell, branch))
            self._known[branch] = factory
            self._forget_a_host(but=branch)
        self._known.move_to_end(branch)
        return factory

    def _forget_a_host(self, *, but: Branch) -> None:
        hosts = [branch for branch in self._known if branch[1] and branch != but]
        if len(hosts) >= MAX_HOSTS:
            oldest = next((branch for branch in hosts if branch not in self._open), hosts[0])
            del self._known[oldest]
            self._note(oldest, is_open=False)

    def _tell(self, branch: Branch, _: str, event_type: str, event: Any) -> None:
        endpoint, host = branch
        if event_type != "state_changed" or branch not in self._known:
            return
        self._note(branch, is_open=event.state != "closed")
        if event.state == "opened":
            BREAKERS_OPENED.labels(endpoint.value).inc()
        _log.warning("breaker_changed", endpoint=endpoint.value, host=host or None, state=event.state)

    def _note(self, branch: Branch, *, is_open: bool) -> None:
        (self._open.add if is_open else self._open.discard)(branch)
        BREAKER_OPEN.labels(branch[0].value).set(any(endpoint is branch[0] for endpoint, _ in self._open))


def _answer(result: T, is_failure: Callable[[T], bool], named_wait: Callable[[T], float | None]) -> T:
    """Return the result; as an exception, for the breaker to count, when it is a failure."""
    if is_failure(result):
        raise _FailedResult(result, named_wait(result))
    return result


class _FailedResult(Exception):
    def __init__(self, result: Any, retry_after: float | None) -> None:
        super().__init__()
        self.result = result
        self.retry_after = retry_after


def is_fault(error: BaseException) -> bool:
    """Whether TikTok gave no answer to what was asked: none at all, or that it has a fault of its own."""
    return isinstance(error, TikTokError) and error.kind is FailureKind.RETRYABLE


def pause_of(error: BaseException) -> float | None:
    """Return for how many seconds TikTok wants to be left alone after this failure, within reason; None when it does not say."""
    wait = error.retry_after if isinstance(error, TikTokUnavailable | _FailedResult) else None
    return min(wait, LONGEST_PAUSE_SECONDS) if wait else None


def _counts(error: BaseException, context: Context) -> bool:
    """Whether an exception is a failure of the endpoint. A try that ends without any word of TikTok's proves nothing good."""
    if isinstance(error, _FailedResult) or is_fault(error):
        return True
    return context.state == "half-opened" and not isinstance(error, TikTokError)


def _remaining(context: Context) -> float:
    opened_at = context.opened_at or 0.0
    return min(max(opened_at + float(context.ttl) - time.time(), 0.1), float(context.ttl))
