"""Which attempt of a post may start."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from publisher.domain.following import Seen, verdict
from publisher.domain.job import State, Transfer
from publisher.domain.outcomes import Fail, Reason
from publisher.domain.watching import LOOKED_FOR


class Gate(StrEnum):
    """What a job that has not started may do."""

    START = "start"
    WAIT = "wait"
    """An earlier attempt may still publish."""
    STOP = "stop"
    """An earlier attempt was published."""
    SUPERSEDED = "superseded"
    """A later attempt exists already."""
    DENIED = "denied"
    """A webhook said that something came of an earlier attempt, of which TikTok's status says that it failed."""


SUPERSEDED = Fail(
    Reason("superseded", "A later attempt of this post had begun before this one was heard of, so this one sent nothing."),
    retryable=False,
)


def word_counts_at(
    transfer: Transfer, publish_id: str | None, unknown_since: datetime | None, *, patience: timedelta
) -> datetime | None:
    """Return from when on a person's word about an attempt of unknown outcome counts; None: at once.

    Of an init that publishes by itself and was never answered nobody has the `publish_id`, so TikTok cannot be asked about it:
    it may still fetch, and a replica that was paused with the call in hand may still send it. Its lease was over when the outcome
    became unknown.
    """
    if transfer is Transfer.FILE or publish_id is not None or unknown_since is None:
        return None
    return unknown_since + patience


def under_way_until(status: str, unknown_since: datetime) -> datetime | None:
    """Return until when a person's word does not count about an attempt of which this is TikTok's newest status.

    TikTok has it and names no end, so something may come of it at any time, whatever the profile shows. It waits as long as the
    machine looks by itself; should TikTok leave it so for ever, the word counts after that. None when the status is an end.
    """
    return unknown_since + LOOKED_FOR if verdict(Seen(status)) is None else None


def gate(
    earlier: Mapping[int, State],
    *,
    later_exists: bool,
    dismissed: int = 0,
    too_early: Collection[int] = frozenset(),
    denied: Collection[int] = frozenset(),
) -> Gate:
    """Return whether an attempt may start, given the states of the earlier ones by number.

    Of two attempts at most one ever runs unproven: the earlier one yields to the mere existence of a later one, the later
    one waits until every earlier one is proven to have published nothing. A person's word takes the place of the proof for
    attempts up to `dismissed`, but only for one that has ended without an outcome: what still runs may publish, and what is known
    to be published stays so. It does not count yet for those of which it is `too_early` to know. It is also asked for where a
    webhook `denied` the proof, in whichever order the two came.
    """
    if later_exists:
        return Gate.SUPERSEDED
    if State.SUCCEEDED in earlier.values():
        return Gate.STOP
    vouched = {attempt for attempt in earlier if attempt <= dismissed} - set(too_early)
    if not all(_is_out(state, attempt in vouched) for attempt, state in earlier.items()):
        return Gate.WAIT
    return Gate.START if vouched.issuperset(denied) else Gate.DENIED


def _is_out(state: State, is_dismissed: bool) -> bool:
    return state.proves_nothing_published or (is_dismissed and state is State.UNCONFIRMED)
