"""Every state with every kind of event, spelled out by hand and not derived from the code's own table."""

from itertools import product

import pytest

from scheduler.domain.post_states import (
    EVIDENCE,
    FINISHED,
    MOVING,
    WAITING,
    Happening,
    Kind,
    PostState,
    Standing,
    transition,
)

# Rows: states. Columns: what becomes of them; "." changes nothing.
HEADER = (
    "schedule claim expire retry confirm cancel cancel_confirmed started wait submitted "
    "failed_retry failed_final lost delivered published"
)
COLUMNS = HEADER.split()
MATRIX = """
draft           scheduled . . . . cancelled . . . . . . . sent_to_inbox published
scheduled       . due failed . . cancelled . . . . . . . sent_to_inbox published
due             . . . . . . cancelled publishing deferred processing retry_scheduled failed unconfirmed sent_to_inbox published
publishing      . . . . . . cancelled . deferred processing retry_scheduled failed unconfirmed sent_to_inbox published
deferred        . . . . . . cancelled publishing deferred processing retry_scheduled failed unconfirmed sent_to_inbox published
processing      . . . . . . cancelled . . . retry_scheduled failed unconfirmed sent_to_inbox published
retry_scheduled . due failed . . cancelled . . . . . . . sent_to_inbox published
sent_to_inbox   . . . . . . . . . . . . . . published
published       . . . . . . . . . . . . . . .
unconfirmed     . . . retry_scheduled published . . . . . failed failed unconfirmed sent_to_inbox published
failed          . . . retry_scheduled published . . . . . . . . sent_to_inbox published
cancelled       . . . . . . . . . . . . . sent_to_inbox published
"""
EXPECTED = {
    (PostState(row.split()[0]), Kind(kind)): None if cell == "." else PostState(cell)
    for row in MATRIX.strip().splitlines()
    for kind, cell in zip(COLUMNS, row.split()[1:], strict=True)
}
ALL = list(product(PostState, Kind))


def test_the_matrix_is_complete() -> None:
    assert set(EXPECTED) == set(ALL)


@pytest.mark.parametrize(("state", "kind"), ALL)
def test_each_state_with_each_event_of_the_current_attempt(state: PostState, kind: Kind) -> None:
    for happening in (Happening(kind), Happening(kind, 3), Happening(kind, 3, 7), Happening(kind, 3, 8)):
        assert transition(Standing(state, attempt=3, sequence=7), happening) is EXPECTED[state, kind]


@pytest.mark.parametrize(("state", "kind"), ALL)
@pytest.mark.parametrize("attempt", [2, 4])
def test_another_attempt_changes_nothing_but_by_evidence(state: PostState, kind: Kind, attempt: int) -> None:
    after = transition(Standing(state, attempt=3), Happening(kind, attempt, 99))
    assert after is (EXPECTED[state, kind] if kind in EVIDENCE else None)


@pytest.mark.parametrize(("state", "kind"), ALL)
def test_older_news_of_the_attempt_change_nothing_but_by_evidence_and_submission(state: PostState, kind: Kind) -> None:
    after = transition(Standing(state, attempt=3, sequence=7), Happening(kind, 3, 6))
    assert after is (EXPECTED[state, kind] if kind in EVIDENCE | {Kind.SUBMITTED} else None)


@pytest.mark.parametrize(("state", "kind"), ALL)
def test_a_repeated_event_changes_nothing_the_second_time(state: PostState, kind: Kind) -> None:
    """Deferred may be told again with a new forecast; everything else is settled by its first telling."""
    once = transition(Standing(state, 1, 1), Happening(kind, 1, 1))
    if once is not None:
        twice = transition(Standing(once, 1, 1), Happening(kind, 1, 1))
        # Whether its details are news is judged by who applies it.
        assert twice is None or (twice is once and once in {PostState.DEFERRED, PostState.UNCONFIRMED})


def test_the_groups_cover_all_states() -> None:
    assert {PostState.DRAFT} | WAITING | MOVING | FINISHED == set(PostState)


def test_nothing_leaves_published() -> None:
    assert all(transition(Standing(PostState.PUBLISHED, 1), Happening(kind, 1, 1)) is None for kind in Kind)


def test_only_waiting_posts_are_ever_claimed() -> None:
    claimed = {state for state in PostState if transition(Standing(state), Happening(Kind.CLAIM)) is not None}
    assert claimed == WAITING
