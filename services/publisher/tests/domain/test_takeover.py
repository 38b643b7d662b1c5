"""What follows each checkpoint: every step, every transfer, before and after the deadline."""

from datetime import UTC, datetime, timedelta

import pytest

from publisher.domain.job import CancelState, Checkpoint, State, Step, Transfer
from publisher.domain.outcomes import Cancel
from publisher.domain.takeover import (
    DEADLINE_PASSED,
    INIT_UNKNOWN,
    Action,
    deadline_passed,
    draft_unknown,
    first_step,
    next_action,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATE = NOW - timedelta(seconds=1)
LATER = NOW + timedelta(hours=1)


def test_a_deadline_that_passes_during_any_other_wait_tells_what_it_waited_for() -> None:
    end = deadline_passed("tiktok_daily_posts", "The day is full.")
    assert (end.reason.code, end.reason.message.endswith("The day is full.")) == ("deadline_passed", True)
    assert deadline_passed(None) is DEADLINE_PASSED


def checkpoint(step: Step, **changes: object) -> Checkpoint:
    fields: dict[str, object] = {"state": State.RUNNING, "step": step, "transfer": Transfer.FILE, "publish_before": LATER}
    return Checkpoint(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("transfer", list(Transfer))
@pytest.mark.parametrize("step", [Step.QUEUED, Step.TOKEN, Step.CREATOR_INFO])
def test_before_an_init_only_the_deadline_forbids(step: Step, transfer: Transfer) -> None:
    assert next_action(checkpoint(step, transfer=transfer), NOW) is Action.PREPARE
    assert next_action(checkpoint(step, transfer=transfer, publish_before=NOW), NOW) is Action.PREPARE
    assert next_action(checkpoint(step, transfer=transfer, publish_before=LATE), NOW) is DEADLINE_PASSED


@pytest.mark.parametrize("step", [Step.QUEUED, Step.TOKEN, Step.FETCHING, Step.CREATOR_INFO])
def test_what_lies_at_an_address_only_is_fetched_first(step: Step) -> None:
    assert next_action(checkpoint(step, must_fetch=True), NOW) is Action.FETCH
    assert next_action(checkpoint(step, must_fetch=True, publish_before=LATE), NOW) is DEADLINE_PASSED
    assert first_step(checkpoint(step, must_fetch=True)) is Step.FETCHING
    assert first_step(checkpoint(step)) is Step.TOKEN


@pytest.mark.parametrize(
    ("waited_for", "words"),
    [
        ("source_unavailable", "fetched"),
        ("account_paused", "paused"),
        ("tiktok_quota", "could not be started"),
        (None, "started"),
    ],
)
def test_a_deadline_tells_what_was_waited_for(waited_for: str | None, words: str) -> None:
    end = deadline_passed(waited_for)
    assert (end.reason.code, end.retryable, words in end.reason.message) == ("deadline_passed", False, True)


def test_an_intended_init_of_a_file_is_made_again() -> None:
    assert next_action(checkpoint(Step.INIT_INTENDED), NOW) is Action.PREPARE
    assert next_action(checkpoint(Step.INIT_INTENDED, publish_before=LATE), NOW) is DEADLINE_PASSED


@pytest.mark.parametrize("transfer", [Transfer.PULL, Transfer.PHOTO])
@pytest.mark.parametrize("publish_before", [LATE, LATER])
def test_an_intended_init_that_publishes_by_itself_is_never_repeated(transfer: Transfer, publish_before: datetime) -> None:
    job = checkpoint(Step.INIT_INTENDED, transfer=transfer, publish_before=publish_before)
    assert next_action(job, NOW) is INIT_UNKNOWN


@pytest.mark.parametrize(
    ("expires_at", "action"), [(LATER, Action.SEND), (NOW, Action.PREPARE), (LATE, Action.PREPARE), (None, Action.PREPARE)]
)
def test_a_stored_init_without_bytes(expires_at: datetime | None, action: Action) -> None:
    assert next_action(checkpoint(Step.INIT_DONE, upload_expires_at=expires_at), NOW) is action
    late = checkpoint(Step.INIT_DONE, upload_expires_at=expires_at, publish_before=LATE)
    assert next_action(late, NOW) is DEADLINE_PASSED


@pytest.mark.parametrize("publish_before", [LATE, LATER])
def test_once_a_byte_may_be_out_there_is_no_init_and_no_deadline(publish_before: datetime) -> None:
    assert next_action(checkpoint(Step.UPLOADING, publish_before=publish_before), NOW) is Action.RESYNC
    assert next_action(checkpoint(Step.UPLOADED, publish_before=publish_before), NOW) is Action.POLL
    assert next_action(checkpoint(Step.POLLING, publish_before=publish_before), NOW) is Action.POLL


@pytest.mark.parametrize("transfer", [Transfer.PULL, Transfer.PHOTO])
@pytest.mark.parametrize("step", [Step.INIT_DONE, Step.UPLOADED, Step.POLLING])
def test_after_an_answered_init_what_tiktok_fetches_is_only_followed(step: Step, transfer: Transfer) -> None:
    assert next_action(checkpoint(step, transfer=transfer, publish_before=LATE), NOW) is Action.POLL


@pytest.mark.parametrize("step", [Step.QUEUED, Step.TOKEN, Step.CREATOR_INFO])
@pytest.mark.parametrize("publish_before", [LATE, LATER])
def test_what_a_person_wants_stopped_begins_no_more(step: Step, publish_before: datetime) -> None:
    job = checkpoint(step, transfer=Transfer.PULL, cancel_state=CancelState.WANTED, publish_before=publish_before)
    assert next_action(job, NOW) == Cancel()


def test_a_draft_of_unknown_outcome_is_looked_for_in_the_inbox() -> None:
    told = draft_unknown(INIT_UNKNOWN).reason
    assert (told.code, told.message) == (INIT_UNKNOWN.reason.code, INIT_UNKNOWN.reason.message)
    assert "inbox" in (told.hint or "")


def test_the_wish_does_not_make_a_lost_init_known() -> None:
    job = checkpoint(Step.INIT_INTENDED, transfer=Transfer.PULL, cancel_state=CancelState.WANTED)
    assert next_action(job, NOW) is INIT_UNKNOWN


@pytest.mark.parametrize("state", [state for state in State if state.is_end])
@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("transfer", list(Transfer))
def test_an_attempt_that_has_ended_is_only_looked_at(step: Step, state: State, transfer: Transfer) -> None:
    assert next_action(checkpoint(step, state=state, transfer=transfer, publish_before=LATE), NOW) is Action.WATCH


def test_ends() -> None:
    assert {state for state in State if state.is_end} == {
        State.SUCCEEDED,
        State.FAILED,
        State.UNCONFIRMED,
        State.CANCELLED,
    }
    assert {state for state in State if state.proves_nothing_published} == {State.FAILED, State.CANCELLED}
