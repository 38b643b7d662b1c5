"""Attempts that have ended: what is open, when to look, and what status and webhooks together tell."""

from datetime import UTC, datetime, timedelta

import pytest

from publisher.domain.claims import Claims, asks_for_look, doubted, with_ids, without_status
from publisher.domain.following import Seen
from publisher.domain.job import State
from publisher.domain.outcomes import Defer, Fail, Identified, Reason, Succeed, Unconfirm
from publisher.domain.watching import Question, after_look, claims_count_in, next_look, open_question, watch_wait, watched_for
from tiktok.publish_webhooks import Claim

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PATIENCE = timedelta(minutes=10)
LONG_AGO = NOW - PATIENCE
REASON = Reason("tiktok_internal", "It broke.", log_id="log-1")
FAILED = Fail(REASON, retryable=True)
FAILED_FOR_GOOD = Fail(REASON, retryable=False)
LOST = Unconfirm(REASON)
WAIT = Defer(60.0, REASON)
LIVE = Claims(LONG_AGO, is_live=True, video_ids=("7",))
DELIVERED = Claims(LONG_AGO, is_delivered=True)
DEAD = Claims(LONG_AGO, failure=FAILED)
DENIED = doubted(FAILED, LIVE)
BOTH = Claims(LONG_AGO, is_live=True, failure=FAILED)
TOLD = Succeed("published", ("7",), evidence="webhook")
COMPLETE = Seen("PUBLISH_COMPLETE")
PROCESSING = Seen("PROCESSING_UPLOAD")


def look(question: Question, seen: Seen | None, claims: Claims | None, **changes: bool) -> object:
    return after_look(question, seen, claims, NOW, patience=PATIENCE, **changes)


@pytest.mark.parametrize(
    ("state", "outcome", "is_identified", "question"),
    [
        (State.QUEUED, None, False, None),
        (State.RUNNING, None, False, None),
        (State.UNCONFIRMED, None, False, Question.OUTCOME),
        (State.FAILED, None, False, Question.CONTRADICTION),
        (State.CANCELLED, None, False, Question.CONTRADICTION),
        (State.SUCCEEDED, "sent_to_inbox", False, Question.POSTED),
        (State.SUCCEEDED, "sent_to_inbox", True, Question.POSTED),
        (State.SUCCEEDED, "published", False, Question.VIDEO_ID),
        (State.SUCCEEDED, "published", True, None),
    ],
)
def test_what_is_open(state: State, outcome: object, is_identified: bool, question: Question | None) -> None:
    assert open_question(state, outcome, is_identified=is_identified) is question  # type: ignore[arg-type]


@pytest.mark.parametrize("question", list(Question))
def test_looks_become_rarer_and_end(question: Question) -> None:
    waits = [wait for looks in range(30) if (wait := watch_wait(question, looks)) is not None]
    assert waits == sorted(waits)
    assert watch_wait(question, len(waits)) is None
    assert sum(waits) < 9 * 86_400
    assert watched_for(question, 0) == sum(waits[1:])
    assert watched_for(question, len(waits)) == 0


@pytest.mark.parametrize(
    ("claims", "end"),
    [
        (LIVE, TOLD),
        (DELIVERED, Succeed("sent_to_inbox", evidence="webhook")),
        (DEAD, FAILED_FOR_GOOD),
        (BOTH, None),
        (Claims(NOW, is_delivered=True, failure=FAILED), None),
        (Claims(NOW), None),
    ],
)
def test_what_webhooks_tell_by_themselves(claims: Claims, end: object) -> None:
    assert claims.end == end


@pytest.mark.parametrize(
    ("follows", "claims", "outcome"),
    [
        (WAIT, None, WAIT),
        (WAIT, BOTH, WAIT),
        (WAIT, Claims(NOW, is_live=True), WAIT),
        (WAIT, LIVE, TOLD),
        (WAIT, DEAD, FAILED_FOR_GOOD),
        (LOST, None, LOST),
        (LOST, BOTH, LOST),
        (LOST, Claims(NOW, is_live=True, video_ids=("7",)), TOLD),
        (LOST, DEAD, FAILED_FOR_GOOD),
        (FAILED, DEAD, FAILED),
        (FAILED, LIVE, TOLD),
    ],
)
def test_while_the_status_is_silent_webhooks_count_after_a_while(follows: object, claims: object, outcome: object) -> None:
    assert without_status(follows, claims, NOW, patience=PATIENCE) == outcome  # type: ignore[arg-type]


def test_a_failure_that_a_webhook_denies_is_not_repeated_by_the_machine() -> None:
    """Whether it would have been repeated or not: a person who does so is asked to look first."""
    assert doubted(FAILED, LIVE) == doubted(FAILED, DELIVERED) == doubted(FAILED_FOR_GOOD, LIVE) == DENIED
    assert doubted(DENIED, LIVE) == DENIED, "said once"
    assert doubted(FAILED, None) == doubted(FAILED, DEAD) == FAILED
    assert doubted(FAILED_FOR_GOOD, None) == FAILED_FOR_GOOD
    assert (DENIED.reason.code, DENIED.reason.log_id, DENIED.retryable) == ("webhook_denies_failure", "log-1", False)
    assert DENIED.reason.message == "It broke. But a webhook of TikTok's said that the post is there."
    assert "confirm_not_published" in (DENIED.reason.hint or "")


def test_ids_of_a_webhook_fill_what_the_status_leaves_out() -> None:
    assert with_ids(Succeed("published"), LIVE).post_ids == ("7",)
    assert with_ids(Succeed("published", ("8",)), LIVE).post_ids == ("8",)
    assert with_ids(Succeed("sent_to_inbox"), LIVE).post_ids == ()
    assert with_ids(Succeed("published"), None).post_ids == ()


@pytest.mark.parametrize(
    ("seen", "claims", "settled"),
    [
        (COMPLETE, None, Succeed("published")),
        (COMPLETE, LIVE, Succeed("published", ("7",))),
        (COMPLETE, DEAD, Succeed("published")),
        (Seen("SEND_TO_USER_INBOX"), None, Succeed("sent_to_inbox")),
        (Seen("FAILED", failure=FAILED), None, FAILED),
        (Seen("FAILED", failure=FAILED), LIVE, DENIED),
        (PROCESSING, LIVE, None),
        (PROCESSING, DEAD, None),
        (None, None, None),
        (None, LIVE, TOLD),
        (None, DEAD, FAILED_FOR_GOOD),
        (None, BOTH, None),
        (None, Claims(NOW, is_live=True), None),
    ],
)
def test_an_unknown_outcome(seen: Seen | None, claims: Claims | None, settled: object) -> None:
    assert look(Question.OUTCOME, seen, claims) == settled


@pytest.mark.parametrize(
    ("seen", "claims", "settled"),
    [
        (COMPLETE, LIVE, Succeed("published", ("7",))),
        (Seen("SEND_TO_USER_INBOX"), DELIVERED, Succeed("sent_to_inbox")),
        (Seen("FAILED", failure=FAILED), LIVE, None),
        (PROCESSING, LIVE, None),
        (None, LIVE, TOLD),
        (None, DEAD, None),
    ],
)
def test_what_counts_as_not_published(seen: Seen | None, claims: Claims, settled: object) -> None:
    assert look(Question.CONTRADICTION, seen, claims) == settled


def test_a_status_that_said_failed_is_not_outvoted_by_a_webhook_alone() -> None:
    assert look(Question.CONTRADICTION, None, LIVE, said_failed=True) is None
    assert look(Question.CONTRADICTION, COMPLETE, LIVE, said_failed=True) == Succeed("published", ("7",))


@pytest.mark.parametrize(
    ("seen", "claims", "settled"),
    [
        (COMPLETE, None, Succeed("published")),
        (Seen("SEND_TO_USER_INBOX"), DELIVERED, None),
        (Seen("FAILED", failure=FAILED), None, None),
        (None, DELIVERED, None),
        (None, Claims(LONG_AGO, is_live=True, is_delivered=True), Succeed("published", evidence="webhook")),
    ],
)
def test_a_draft(seen: Seen | None, claims: Claims | None, settled: object) -> None:
    assert look(Question.POSTED, seen, claims) == settled


@pytest.mark.parametrize(
    ("seen", "claims", "settled"),
    [
        (Seen("PUBLISH_COMPLETE", ("8", "9")), LIVE, Identified("8")),
        (COMPLETE, LIVE, Identified("7", "webhook")),
        (None, Claims(NOW, is_live=True, video_ids=("7",)), Identified("7", "webhook")),
        (COMPLETE, Claims(NOW, is_live=True), None),
        (None, None, None),
    ],
)
def test_a_video_id(seen: Seen | None, claims: Claims | None, settled: object) -> None:
    assert look(Question.VIDEO_ID, seen, claims) == settled


def test_what_tiktok_says_is_over_is_not_looked_at_any_more() -> None:
    failed = Seen("FAILED", failure=FAILED)
    for question in (Question.POSTED, Question.VIDEO_ID):
        assert next_look(question, failed, 0) is None
        assert next_look(question, None, 0) == next_look(question, PROCESSING, 0) == watch_wait(question, 0)


def test_drafts_are_looked_at_for_a_week() -> None:
    assert 6.5 * 86_400 <= sum(watch_wait(Question.POSTED, looks) or 0 for looks in range(30)) <= 7.5 * 86_400


def test_when_a_webhook_will_count() -> None:
    heard = Claims(NOW - timedelta(minutes=4), is_live=True)
    assert claims_count_in(heard, NOW, patience=PATIENCE) == 360.0
    assert claims_count_in(LIVE, NOW, patience=PATIENCE) is None
    assert claims_count_in(BOTH, NOW, patience=PATIENCE) is None
    assert claims_count_in(None, NOW, patience=PATIENCE) is None


def test_which_claims_ask_for_a_look() -> None:
    def asking(state: State, outcome: object = None, *, is_identified: bool = False) -> set[Claim]:
        return {
            claim
            for claim in Claim
            if asks_for_look(claim, state, outcome, is_identified=is_identified)  # type: ignore[arg-type]
        }

    posted = {Claim.COMPLETE, Claim.PUBLIC}
    assert asking(State.QUEUED) == set()
    assert asking(State.RUNNING) == asking(State.UNCONFIRMED) == set(Claim)
    assert asking(State.FAILED) == asking(State.CANCELLED) == posted | {Claim.DELIVERED}
    assert asking(State.SUCCEEDED, "published") == posted
    assert asking(State.SUCCEEDED, "published", is_identified=True) == set()
    assert asking(State.SUCCEEDED, "sent_to_inbox") == posted
