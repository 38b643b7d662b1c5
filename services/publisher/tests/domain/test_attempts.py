"""Which attempt may start: all combinations of two earlier attempts."""

from itertools import product

import pytest

from publisher.domain.attempts import Gate, gate
from publisher.domain.job import State


@pytest.mark.parametrize("earlier", list(product(State, repeat=2)))
def test_a_later_attempt_always_wins_over_one_not_begun(earlier: tuple[State, ...]) -> None:
    assert gate(earlier, later_exists=True) is Gate.SUPERSEDED


@pytest.mark.parametrize("earlier", [(), *((state,) for state in State), *product(State, repeat=2)])
def test_only_proof_lets_it_start(earlier: tuple[State, ...]) -> None:
    decision = gate(earlier, later_exists=False)
    if set(earlier) <= {State.FAILED, State.CANCELLED}:
        assert decision is Gate.START
    elif State.SUCCEEDED in earlier:
        assert decision is Gate.STOP
    else:
        assert decision is Gate.WAIT
