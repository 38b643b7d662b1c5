"""Rate limits per access token in a sliding minute, and the daily cap per creator."""

from collections import deque

from tiktok_simulator.clock import Clock
from tiktok_simulator.settings import Settings

MINUTE = 60.0
DAY = 86400.0
_SWEEP_ABOVE = 10_000

INIT = "init"
INBOX_INIT = "inbox_init"
CONTENT_INIT = "content_init"
CREATOR_INFO = "creator_info"
STATUS = "status"
CANCEL = "cancel"
USER_INFO = "user_info"
VIDEO_LIST = "video_list"
VIDEO_QUERY = "video_query"


class Quotas:
    """Counts admitted calls; a refused call does not count. Not kept over a restart."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._clock = clock if clock is not None else Clock()
        self._limits = {
            INIT: settings.init_per_minute,
            INBOX_INIT: settings.init_per_minute,
            CONTENT_INIT: settings.init_per_minute,
            CREATOR_INFO: settings.creator_info_per_minute,
            STATUS: settings.status_per_minute,
            CANCEL: settings.cancel_per_minute,
            USER_INFO: settings.display_per_minute,
            VIDEO_LIST: settings.display_per_minute,
            VIDEO_QUERY: settings.display_per_minute,
        }
        self._shared = settings.shared_init_limit
        self._calls: dict[tuple[str, str], deque[float]] = {}

    def admit(self, bucket: str, token: str, at: float | None = None) -> bool:
        """Count a call now (Unix seconds) and return True, or return False when the minute is full."""
        moment = self._clock.now() if at is None else at
        if self._shared and bucket in {INBOX_INIT, CONTENT_INIT}:
            bucket = INIT
        if len(self._calls) > _SWEEP_ABOVE:
            self._sweep(moment)
        calls = self._calls.setdefault((bucket, token), deque())
        while calls and calls[0] <= moment - MINUTE:
            calls.popleft()
        if len(calls) >= self._limits[bucket]:
            return False
        calls.append(moment)
        return True

    def reset(self) -> None:
        """Forget all calls."""
        self._calls.clear()

    def _sweep(self, moment: float) -> None:
        self._calls = {key: calls for key, calls in self._calls.items() if calls and calls[-1] > moment - MINUTE}
