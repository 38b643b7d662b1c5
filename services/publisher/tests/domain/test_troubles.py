"""What failed calls mean, by kind and by how far the job had come."""

from datetime import UTC, datetime, timedelta

import pytest

from publisher.domain.job import Checkpoint, State, Step, Transfer
from publisher.domain.outcomes import Defer, Fail, Reason, Unconfirm
from publisher.domain.takeover import INIT_UNKNOWN, init_unknown
from publisher.domain.troubles import (
    Trouble,
    TroubleKind,
    after_init_trouble,
    after_status_trouble,
    before_anything_sent,
    is_refusal,
)
from publisher.domain.unknown_outcome import unknown

NOW = datetime(2026, 11, 1, tzinfo=UTC)
REASON = Reason("code", "message")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("kind", [TroubleKind.NOT_SENT, TroubleKind.NO_VERDICT, TroubleKind.BUSY])
def test_what_passes_is_waited_for(kind: TroubleKind) -> None:
    assert before_anything_sent(Trouble(kind, REASON), 0) == Defer(2.0, REASON)
    assert before_anything_sent(Trouble(kind, REASON), 3) == Defer(16.0, REASON)
    assert before_anything_sent(Trouble(kind, REASON), 50) == Defer(300.0, REASON)
    assert before_anything_sent(Trouble(kind, REASON, 60.0), 0) == Defer(60.0, REASON)


def test_an_account_that_waits_is_looked_at_every_minute_or_less_often() -> None:
    assert before_anything_sent(Trouble(TroubleKind.ACCOUNT_WAITS, REASON), 0) == Defer(60.0, REASON, for_account=True)
    assert before_anything_sent(Trouble(TroubleKind.ACCOUNT_WAITS, REASON, 90.0), 0) == Defer(90.0, REASON, for_account=True)
    assert before_anything_sent(Trouble(TroubleKind.ACCOUNT_WAITS, REASON), 9) == Defer(300.0, REASON, for_account=True)


def test_refusals_end_the_attempt() -> None:
    assert before_anything_sent(Trouble(TroubleKind.RETRYABLE, REASON, 5.0), 0) == Fail(REASON, True, 5.0)
    assert before_anything_sent(Trouble(TroubleKind.FINAL, REASON), 0) == Fail(REASON, False)
    assert before_anything_sent(Trouble(TroubleKind.ACCOUNT_GONE, REASON), 0) == Fail(REASON, False)


@pytest.mark.parametrize("kind", list(TroubleKind))
def test_an_init_that_may_have_published_is_unconfirmed_and_nothing_else(kind: TroubleKind) -> None:
    trouble = Trouble(kind, REASON)
    assert after_init_trouble(Transfer.FILE, trouble, 0) == before_anything_sent(trouble, 0)
    for transfer in (Transfer.PULL, Transfer.PHOTO):
        unknown = kind in {TroubleKind.NO_VERDICT, TroubleKind.RETRYABLE}
        expected = init_unknown(REASON) if unknown else before_anything_sent(trouble, 0)
        assert after_init_trouble(transfer, trouble, 0) == expected


def test_an_init_of_unknown_outcome_tells_what_tiktok_said() -> None:
    told = init_unknown(Reason("tiktok_internal", "TikTok had a fault of its own.", "Nothing to do.", "L1")).reason
    assert (told.code, told.hint, told.log_id) == (INIT_UNKNOWN.reason.code, INIT_UNKNOWN.reason.hint, "L1")
    assert told.message.endswith(": TikTok had a fault of its own.")


def _job(**changes: object) -> Checkpoint:
    fields: dict[str, object] = {
        "state": State.RUNNING,
        "step": Step.POLLING,
        "transfer": Transfer.FILE,
        "publish_before": NOW,
        "submitted_at": NOW,
        "last_chunk_intended": True,
    }
    return Checkpoint(**(fields | changes))  # type: ignore[arg-type]


def after_status(job: Checkpoint, kind: TroubleKind, now: datetime, wait: float | None = None) -> Defer | Unconfirm | Fail:
    return after_status_trouble(job, Trouble(kind, REASON, wait), now, give_up=DAY, refused_patience=HOUR)


def test_a_status_that_cannot_be_had_is_asked_again_and_never_a_failure() -> None:
    assert after_status(_job(), TroubleKind.NO_VERDICT, NOW) == Defer(2.0, REASON)
    assert after_status(_job(deferrals=2), TroubleKind.NOT_SENT, NOW) == Defer(8.0, REASON)
    assert after_status(_job(), TroubleKind.BUSY, NOW, 30.0) == Defer(30.0, REASON)
    assert after_status(_job(), TroubleKind.NO_VERDICT, NOW + DAY) == unknown(REASON)


def test_a_refused_status_is_unconfirmed_after_an_hour() -> None:
    refused = _job(refused_since=NOW)
    assert after_status(_job(), TroubleKind.FINAL, NOW) == Defer(60.0, REASON)
    assert after_status(refused, TroubleKind.ACCOUNT_GONE, NOW + HOUR / 2) == Defer(60.0, REASON)
    assert after_status(refused, TroubleKind.ACCOUNT_WAITS, NOW + HOUR) == unknown(REASON)
    assert after_status(refused, TroubleKind.NOT_SENT, NOW + HOUR) == Defer(2.0, REASON)


def test_without_the_last_chunk_not_knowing_is_proof_in_the_end() -> None:
    job = _job(submitted_at=None, last_chunk_intended=False, irrevocable_since=NOW)
    assert after_status(job, TroubleKind.NO_VERDICT, NOW + DAY) == Fail(REASON, retryable=True)
    assert after_status(_job(submitted_at=None, irrevocable_since=NOW), TroubleKind.NO_VERDICT, NOW + DAY) == unknown(REASON)
    assert after_status(_job(submitted_at=None), TroubleKind.NO_VERDICT, NOW + DAY) == Defer(2.0, REASON)


def test_refusals() -> None:
    assert {kind for kind in TroubleKind if not is_refusal(Trouble(kind, REASON))} == {
        TroubleKind.NOT_SENT,
        TroubleKind.NO_VERDICT,
        TroubleKind.BUSY,
    }
