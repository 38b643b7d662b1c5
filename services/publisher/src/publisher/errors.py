"""Errors of the publisher."""

from publisher.domain.outcomes import Defer
from publisher.domain.troubles import Trouble


class LeaseLost(Exception):
    """The replica no longer owns the job: its lease ended, another one took over, or the job was cancelled.

    Whoever catches it sends nothing and stores nothing for the job any more.
    """


class QuotaUsedUp(Exception):
    """One of TikTok's limits has no room for a call, so it was not made; `wait` is until its turn comes."""

    def __init__(self, wait: Defer) -> None:
        super().__init__(wait.awaits)
        self.wait = wait


class HandedBack(Exception):
    """The replica is asked to end, or nobody wants the post any more: a call that had no effect is not made again."""


class CallFailed(Exception):
    """A call to TikTok or to accounts did not do what was asked; `trouble` says what that means."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason.code)
        self.trouble = trouble
