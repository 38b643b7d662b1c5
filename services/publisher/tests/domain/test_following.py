"""What TikTok's status means while polling and while getting back in step."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from publisher.domain.following import (
    STATUS_NEVER_ENDED,
    UPLOAD_UNAVAILABLE,
    Seen,
    after_poll,
    after_resync,
    resume_offset,
    verdict,
)
from publisher.domain.job import CancelState, Checkpoint, State, Step, Transfer
from publisher.domain.outcomes import Cancel, Defer, Fail, Look, Reason, Resume, Submitted, Succeed, Unconfirm
from publisher.domain.takeover import DEADLINE_PASSED

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SETTLE = timedelta(seconds=60)
TOTAL = 75
STARTS = (0, 10, 20, 30, 40, 50, 60)
GONE = [("media_missing", False), ("fetched_file_missing", True)]
PROCESSING = "PROCESSING_UPLOAD"
REFUSED = Fail(Reason("tiktok_internal", "x"), retryable=True)


def job(**changes: object) -> Checkpoint:
    fields: dict[str, object] = {
        "state": State.RUNNING,
        "step": Step.UPLOADING,
        "transfer": Transfer.FILE,
        "publish_before": NOW,
        "total_bytes": TOTAL,
        "sent_bytes": 20,
        "irrevocable_since": NOW,
        "upload_expires_at": NOW + timedelta(hours=1),
    }
    return Checkpoint(**(fields | changes))  # type: ignore[arg-type]


def resync(checkpoint: Checkpoint, seen: Seen, *, now: datetime = NOW, stuck: int = 0, lost: int = 0) -> object:
    return after_resync(checkpoint, seen, STARTS, now, stuck=stuck, lost=lost, settle=SETTLE, give_up=DAY)


def uploaded(count: int | None) -> Seen:
    return Seen(PROCESSING, uploaded_bytes=count)


def test_verdicts() -> None:
    assert verdict(Seen("PUBLISH_COMPLETE", ("7",))) == Succeed("published", ("7",))
    assert verdict(Seen("SEND_TO_USER_INBOX")) == Succeed("sent_to_inbox")
    assert verdict(Seen("FAILED", failure=REFUSED)) is REFUSED
    unexplained = verdict(Seen("FAILED"))
    assert isinstance(unexplained, Fail)
    assert not unexplained.retryable
    for told in ("PUBLISH_COMPLETE", "SEND_TO_USER_INBOX"):
        assert getattr(verdict(Seen(told, log_id="L")), "log_id", None) == "L"
    unexplained = verdict(Seen("FAILED", log_id="L"))
    assert isinstance(unexplained, Fail)
    assert unexplained.reason.log_id == "L"
    assert verdict(Seen(PROCESSING)) is None
    assert verdict(Seen("SOMETHING_NEW")) is None


def test_polling_until_the_end_or_a_day() -> None:
    polling = job(step=Step.POLLING, submitted_at=NOW)
    assert after_poll(polling, Seen("PUBLISH_COMPLETE"), NOW, give_up=DAY) == Succeed("published")
    assert after_poll(polling, Seen(PROCESSING), NOW, give_up=DAY) == Look(1.0)
    assert after_poll(job(submitted_at=NOW, polls=4), Seen(PROCESSING), NOW, give_up=DAY) == Look(5.0)
    assert after_poll(job(submitted_at=NOW, polls=99), Seen(PROCESSING), NOW, give_up=DAY) == Look(60.0)
    assert after_poll(polling, Seen(PROCESSING), NOW + DAY, give_up=DAY) == Unconfirm(STATUS_NEVER_ENDED)
    assert after_poll(polling, Seen("PUBLISH_COMPLETE"), NOW + DAY, give_up=DAY) == Succeed("published")
    assert after_poll(job(), Seen(PROCESSING), NOW, give_up=DAY) == Look(1.0)


@pytest.mark.parametrize("cancel_state", list(CancelState))
def test_what_was_to_be_stopped_and_failed_is_stopped(cancel_state: CancelState) -> None:
    wanted = job(step=Step.POLLING, submitted_at=NOW, transfer=Transfer.PULL, cancel_state=cancel_state)
    assert after_poll(wanted, Seen("FAILED", failure=REFUSED), NOW, give_up=DAY) == Cancel()
    assert after_poll(wanted, Seen("PUBLISH_COMPLETE"), NOW, give_up=DAY) == Succeed("published")
    assert after_poll(wanted, Seen(PROCESSING), NOW + DAY, give_up=DAY) == Unconfirm(STATUS_NEVER_ENDED)
    unwanted = job(step=Step.POLLING, submitted_at=NOW, transfer=Transfer.PULL)
    assert after_poll(unwanted, Seen("FAILED", failure=REFUSED), NOW, give_up=DAY) is REFUSED


def test_without_the_time_of_submission_that_of_the_intent_counts() -> None:
    polling = job(step=Step.INIT_DONE, transfer=Transfer.PULL, irrevocable_since=NOW - DAY)
    assert after_poll(polling, Seen(PROCESSING), NOW, give_up=DAY) == Unconfirm(STATUS_NEVER_ENDED)


@pytest.mark.parametrize(
    ("told", "exact", "offset"),
    [
        (0, False, 0),
        (10, False, 10),
        (9, False, 10),
        (29, False, 30),
        (13, False, 10),
        (13, True, 13),
        (62, False, 60),
        (74, False, 75),
        (75, False, 75),
        (80, False, 75),
        (80, True, 75),
        (None, False, 20),
        (None, True, 20),
    ],
)
def test_where_to_go_on(told: int | None, exact: bool, offset: int) -> None:
    assert resume_offset(told, job(), STARTS, exact=exact) == offset


def test_back_in_step() -> None:
    assert resync(job(), uploaded(30)) == Resume(30)
    assert resync(job(), uploaded(None)) == Resume(20)
    assert resync(job(), uploaded(75)) == Submitted()
    assert resync(job(), uploaded(13), stuck=1) == Resume(13)
    assert resync(job(), uploaded(30), lost=2) == Resume(30)
    assert resync(job(), uploaded(30), lost=3) == Defer(2.0, UPLOAD_UNAVAILABLE)
    assert resync(job(deferrals=2), uploaded(13), stuck=2) == Defer(8.0, UPLOAD_UNAVAILABLE)
    assert resync(job(), uploaded(75), lost=3, stuck=2) == Submitted()
    assert resync(job(), Seen("PUBLISH_COMPLETE")) == Succeed("published")
    assert resync(job(), Seen("FAILED", failure=REFUSED)) is REFUSED


@pytest.mark.parametrize(
    ("code", "retryable"),
    [("upload_expired", True), ("upload_unknown", True), ("upload_rejected", False), (None, True), *GONE],
)
def test_an_ended_address_without_the_last_chunk_is_proof(code: str | None, retryable: bool) -> None:
    end = resync(job(upload_ended_at=NOW, upload_ended_code=code), uploaded(30))
    assert isinstance(end, Fail)
    assert (end.reason.code, end.retryable) == (code or "upload_expired", retryable)
    assert isinstance(resync(job(upload_ended_at=NOW), uploaded(None)), Fail)


def test_an_ended_address_with_all_bytes_there_is_no_failure() -> None:
    assert resync(job(upload_ended_at=NOW, last_chunk_intended=True), uploaded(75)) == Submitted()


@pytest.mark.parametrize("code", ["upload_expired", "upload_rejected"])
def test_an_address_that_refused_the_only_try_of_the_last_chunk_is_proof_only_when_it_stays_so(code: str) -> None:
    ended = job(upload_ended_at=NOW, upload_ended_code=code, last_chunk_intended=True)
    assert resync(ended, uploaded(60), now=NOW + SETTLE / 2) == Look(1.0)
    assert isinstance(resync(ended, uploaded(60), now=NOW + SETTLE), Fail)


def test_missing_bytes_prove_nothing_once_the_last_chunk_may_have_arrived() -> None:
    """TikTok may count late, and refuse what it has: the same bytes are tried for the hour, then only its status tells."""
    sent, over = job(last_chunk_intended=True), NOW + timedelta(hours=1) + SETTLE
    assert resync(sent, uploaded(60), stuck=2, now=over - SETTLE) == Defer(2.0, UPLOAD_UNAVAILABLE)
    unknown = replace(sent, upload_ended_at=NOW, upload_ended_code="upload_unknown")
    for late, since in ((sent, over), (unknown, NOW + SETTLE)):
        assert resync(late, uploaded(60), now=since) == Look(1.0)
        assert resync(late, uploaded(TOTAL), now=since) == Submitted()
        assert resync(late, Seen("FAILED", failure=REFUSED), now=since) is REFUSED
        assert resync(late, uploaded(60), now=NOW + DAY) == Unconfirm(STATUS_NEVER_ENDED)


def test_the_deadline_holds_while_tiktok_has_no_byte() -> None:
    late = NOW + timedelta(seconds=1)
    assert resync(job(sent_bytes=0), uploaded(0), now=late) == DEADLINE_PASSED
    # Also at the end of a run that took long to fail: a wait now would tell the deadline late.
    assert resync(job(sent_bytes=0), uploaded(0), now=late, stuck=2) == DEADLINE_PASSED
    assert resync(job(sent_bytes=0), uploaded(0), now=late, lost=3) == DEADLINE_PASSED
    assert resync(job(sent_bytes=0), uploaded(0), now=NOW) == Resume(0)
    assert resync(job(), uploaded(10), now=late) == Resume(10)
    assert resync(job(sent_bytes=0, last_chunk_intended=True), uploaded(0), now=late) == Resume(0)


def test_an_ended_address_without_any_number_is_never_proof() -> None:
    ended = job(upload_ended_at=NOW, last_chunk_intended=True)
    assert resync(ended, uploaded(None), now=NOW + SETTLE) == Look(1.0)
    assert resync(ended, uploaded(None), now=NOW + DAY) == Unconfirm(STATUS_NEVER_ENDED)
    without_start = job(upload_ended_at=NOW, last_chunk_intended=True, irrevocable_since=None)
    assert resync(without_start, uploaded(None), now=NOW + DAY) == Look(1.0)


def test_an_hour_that_has_passed_ends_the_address_too() -> None:
    end = NOW + timedelta(hours=1)
    assert resync(job(), uploaded(30), now=end) == Resume(30)
    assert isinstance(resync(job(), uploaded(30), now=end + SETTLE), Fail)
    assert resync(job(upload_expires_at=None), uploaded(30), now=end + SETTLE) == Resume(30)
