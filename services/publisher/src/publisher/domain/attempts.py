"""Which attempt of a post may start."""

from collections.abc import Collection
from enum import StrEnum

from publisher.domain.job import State
from publisher.domain.outcomes import Fail, Reason


class Gate(StrEnum):
    """What a job that has not started may do."""

    START = "start"
    WAIT = "wait"
    """An earlier attempt may still publish."""
    STOP = "stop"
    """An earlier attempt was published."""
    SUPERSEDED = "superseded"
    """A later attempt exists already."""


SUPERSEDED = Fail(
    Reason("superseded", "A later attempt of this post had begun before this one was heard of, so this one sent nothing."),
    retryable=False,
)


def gate(earlier: Collection[State], *, later_exists: bool) -> Gate:
    """Return whether an attempt may start, given the states of the earlier ones.

    Of two attempts at most one ever runs unproven: the earlier one yields to the mere existence of a later one, the later
    one waits until every earlier one is proven to have published nothing.
    """
    if later_exists:
        return Gate.SUPERSEDED
    if State.SUCCEEDED in earlier:
        return Gate.STOP
    return Gate.START if all(state.proves_nothing_published for state in earlier) else Gate.WAIT
