"""Which attempt of a post may start."""

from collections.abc import Mapping
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


def gate(earlier: Mapping[int, State], *, later_exists: bool, dismissed: int = 0) -> Gate:
    """Return whether an attempt may start, given the states of the earlier ones by number.

    Of two attempts at most one ever runs unproven: the earlier one yields to the mere existence of a later one, the later
    one waits until every earlier one is proven to have published nothing. A person's word takes the place of the proof for
    attempts up to `dismissed`, but only for one that has ended without an outcome: what still runs may publish, and what is known
    to be published stays so.
    """
    if later_exists:
        return Gate.SUPERSEDED
    if State.SUCCEEDED in earlier.values():
        return Gate.STOP
    return Gate.START if all(_is_out(state, attempt <= dismissed) for attempt, state in earlier.items()) else Gate.WAIT


def _is_out(state: State, is_dismissed: bool) -> bool:
    return state.proves_nothing_published or (is_dismissed and state is State.UNCONFIRMED)
