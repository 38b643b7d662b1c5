"""Which attempt may start: all combinations of two earlier attempts, dismissed by a person or not."""

from itertools import product

import pytest

from publisher.domain.attempts import Gate, gate
from publisher.domain.job import State

PAIRS = [(), *((state,) for state in State), *product(State, repeat=2)]


@pytest.mark.parametrize("earlier", PAIRS)
@pytest.mark.parametrize("dismissed", [0, 1, 2])
def test_a_later_attempt_always_wins_over_one_not_begun(earlier: tuple[State, ...], dismissed: int) -> None:
    assert gate(dict(enumerate(earlier, 1)), later_exists=True, dismissed=dismissed) is Gate.SUPERSEDED


@pytest.mark.parametrize("earlier", PAIRS)
@pytest.mark.parametrize("dismissed", [0, 1, 2, 9])
def test_only_proof_or_a_persons_word_lets_it_start(earlier: tuple[State, ...], dismissed: int) -> None:
    decision = gate(dict(enumerate(earlier, 1)), later_exists=False, dismissed=dismissed)
    in_doubt = [
        state
        for attempt, state in enumerate(earlier, 1)
        if state not in {State.FAILED, State.CANCELLED} and not (state is State.UNCONFIRMED and attempt <= dismissed)
    ]
    if State.SUCCEEDED in earlier:
        assert decision is Gate.STOP
    else:
        assert decision is (Gate.WAIT if in_doubt else Gate.START)


def test_a_word_about_an_attempt_says_nothing_about_a_running_one_or_a_later_one() -> None:
    for running in (State.QUEUED, State.RUNNING):
        assert gate({1: State.UNCONFIRMED, 2: running}, later_exists=False, dismissed=2) is Gate.WAIT
    assert gate({1: State.UNCONFIRMED, 2: State.UNCONFIRMED}, later_exists=False, dismissed=1) is Gate.WAIT
