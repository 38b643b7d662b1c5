"""The local side of a lease, judged by a clock that goes on while the process is paused."""

from collections.abc import Callable
from uuid import UUID

from common.clock import boot_seconds
from publisher.errors import LeaseLost


class Lease:
    """The right to act for a job until a moment on the boot clock.

    The moment is counted from before the claim or renewal was sent, so it never lies after the lease's end in the database.
    `streamed` is how many bytes of the file have been handed to the network, for the progress display.
    """

    def __init__(self, job_id: UUID, token: int, *, valid_until: float, clock: Callable[[], float] = boot_seconds) -> None:
        self.job_id = job_id
        self.token = token
        self.streamed = 0
        self._valid_until = valid_until
        self._clock = clock
        self._revoked = False

    @property
    def valid(self) -> bool:
        """Whether the replica may act for the job at this moment."""
        return not self._revoked and self._clock() < self._valid_until

    @property
    def seconds_left(self) -> float:
        """How long it still lasts, negative once it is over."""
        return self._valid_until - self._clock()

    @property
    def revoked(self) -> bool:
        """Whether the lease is known to be lost for good."""
        return self._revoked

    def check(self) -> None:
        """Raise `LeaseLost` unless valid; called just before anything is sent. Once lost, lost for good."""
        if not self.valid:
            self._revoked = True
            raise LeaseLost

    def extend(self, valid_until: float) -> None:
        """Note a renewal; a lease that was lost stays lost."""
        self._valid_until = max(self._valid_until, valid_until)

    def revoke(self) -> None:
        """Note that the database no longer knows this lease."""
        self._revoked = True
