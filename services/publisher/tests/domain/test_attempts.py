"""Which attempt may start: all combinations of two earlier attempts, dismissed by a person or not."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from publisher.domain.attempts import Gate, gate, under_way_until, word_counts_at
from publisher.domain.job import State, Transfer

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


def test_a_word_that_comes_too_early_is_no_proof() -> None:
    unknown = {1: State.UNCONFIRMED, 2: State.UNCONFIRMED}
    assert gate(unknown, later_exists=False, dismissed=2, too_early={1}) is Gate.WAIT
    assert gate(unknown, later_exists=False, dismissed=2, too_early={2}) is Gate.WAIT
    assert gate({1: State.FAILED, 2: State.UNCONFIRMED}, later_exists=False, dismissed=2, too_early={1}) is Gate.START


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_failure_that_a_webhook_denied_is_no_proof_without_a_persons_word(state: State) -> None:
    assert gate({1: state, 2: State.FAILED}, later_exists=False, denied={1}) is Gate.DENIED
    assert gate({1: state, 2: State.FAILED}, later_exists=False, dismissed=1, denied={1}) is Gate.START
    assert gate({1: state, 2: State.FAILED}, later_exists=False, dismissed=1, denied={2}) is Gate.DENIED
    assert gate({1: state, 2: State.SUCCEEDED}, later_exists=False, denied={1}) is Gate.STOP
    assert gate({1: state, 2: State.RUNNING}, later_exists=False, denied={1}) is Gate.WAIT
    assert gate({1: state}, later_exists=True, denied={1}) is Gate.SUPERSEDED


@pytest.mark.parametrize(
    ("status", "is_under_way"),
    [
        ("PROCESSING_UPLOAD", True), ("PROCESSING_DOWNLOAD", True), ("SOME_NEW_STATUS", True),
        ("PUBLISH_COMPLETE", False), ("SEND_TO_USER_INBOX", False), ("FAILED", False),
    ],
)  # fmt: skip
def test_while_tiktok_names_no_end_a_word_waits_as_long_as_the_machine_looks(status: str, is_under_way: bool) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    until = under_way_until(status, since)
    assert until == (since + timedelta(days=7, hours=7, minutes=12, seconds=35) if is_under_way else None)


@pytest.mark.parametrize("transfer", Transfer)
@pytest.mark.parametrize("publish_id", [None, "known"])
def test_only_an_init_that_publishes_and_was_never_answered_keeps_a_person_waiting(
    transfer: Transfer, publish_id: str | None
) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    counts_at = word_counts_at(transfer, publish_id, since, patience=timedelta(hours=1))
    is_lost = transfer in {Transfer.PULL, Transfer.PHOTO} and publish_id is None
    assert counts_at == (since + timedelta(hours=1) if is_lost else None)
    assert word_counts_at(transfer, publish_id, None, patience=timedelta(hours=1)) is None
