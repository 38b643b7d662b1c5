"""Waking the due loop when a change brings a due time that it may not know yet."""

from collections.abc import Callable
from datetime import timedelta

from common.clock import utc_now
from common.database.database import Transaction
from scheduler.domain.post import Post
from scheduler.domain.post_states import WAITING

SOON = timedelta(seconds=2)
"""More than the loop ever sleeps, with room for clocks that differ: what is due later it finds by itself."""


class Waker:
    """Wakes the due loop after the commit, but only for posts that are due before it looks again anyway."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def wake_for(self, tx: Transaction, post: Post) -> None:
        """Wake after the commit when `post` waits and is due soon."""
        due_at = post.next_attempt_at
        if post.state in WAITING and not post.held and due_at is not None and due_at <= utc_now() + SOON:
            tx.after_commit(self._wake)

    def wake(self, tx: Transaction) -> None:
        """Wake after the commit."""
        tx.after_commit(self._wake)
