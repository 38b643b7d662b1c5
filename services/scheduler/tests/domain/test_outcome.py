"""What each report of the publisher writes into a post."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from common.ids import uuid7
from scheduler.domain.outcome import Change, Patience, Reason, Report, judge
from scheduler.domain.post import Post
from scheduler.domain.post_states import Kind, PostState
from scheduler.domain.retry import Failure, RetryPolicy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT = NOW - timedelta(seconds=1)
PATIENCE = Patience()
WHY = Reason("tiktok_busy", "TikTok is busy.", "Wait.")
COLUMNS: dict[str, Any] = dict.fromkeys(Post.__slots__)
POST = Post(
    **{
        **COLUMNS,
        "id": uuid7(),
        "user_id": uuid7(),
        "status": "publishing",
        "held": False,
        "attempt": 2,
        "retry_count": 1,
        "version": 5,
        "publish_before": NOW + timedelta(days=1),
        "publisher_sequence": 3,
        "created_at": NOW,
        "updated_at": NOW,
    }
)


def told(kind: Kind, *, post: Post = POST, attempt: int = 2, sequence: int = 4, **fields: Any) -> Change:
    report = Report(kind, attempt, sequence, AT, **fields)
    return judge(post, report, policy=RetryPolicy(), patience=PATIENCE, now=NOW, jitter=0.0)


def test_started() -> None:
    change = told(Kind.STARTED, post=replace(POST, status="due"))
    assert change.state is PostState.PUBLISHING
    assert change.columns == {
        "status": "publishing",
        "error_code": None,
        "error_message": None,
        "error_hint": None,
        "started_at": AT,
        "forecast_at": None,
        "sweep_at": NOW + PATIENCE.publishing,
        "publisher_sequence": 4,
    }


def test_going_on_after_a_wait_keeps_the_first_start() -> None:
    earlier = AT - timedelta(minutes=5)
    columns = told(Kind.STARTED, post=replace(POST, status="deferred", started_at=earlier)).columns
    assert (columns["status"], columns["started_at"]) == ("publishing", earlier)


@pytest.mark.parametrize(
    ("until", "forecast", "sweep"),
    [
        (NOW + timedelta(hours=1), NOW + timedelta(hours=1), NOW + timedelta(hours=1) + PATIENCE.deferred),
        (NOW - timedelta(hours=1), NOW - timedelta(hours=1), NOW + PATIENCE.deferred),
        (None, None, NOW + PATIENCE.deferred),
    ],
)
def test_deferred(until: datetime | None, forecast: datetime | None, sweep: datetime) -> None:
    columns = told(Kind.WAIT, reason=WHY, until=until).columns
    assert (columns["status"], columns["forecast_at"], columns["sweep_at"]) == ("deferred", forecast, sweep)
    assert (columns["error_code"], columns["error_hint"]) == ("tiktok_busy", "Wait.")


def test_submitted() -> None:
    columns = told(Kind.SUBMITTED, publish_id="p").columns
    assert (columns["status"], columns["publish_id"], columns["submitted_at"]) == ("processing", "p", AT)
    assert columns["sweep_at"] == NOW + PATIENCE.processing


@pytest.mark.parametrize(
    ("media", "kept"), [({}, False), ({"transfer": "pull"}, True), ({"photo_urls": ["https://a.example/b.jpg"]}, True)]
)
def test_what_tiktok_fetches_may_still_be_stopped_once_it_is_submitted(media: dict[str, object], kept: bool) -> None:
    columns = told(Kind.SUBMITTED, post=replace(POST, cancel_at=NOW, **media)).columns
    assert (columns["cancel_at"] is not None) is kept


@pytest.mark.parametrize(("kind", "status"), [(Kind.PUBLISHED, "published"), (Kind.DELIVERED, "sent_to_inbox")])
def test_delivered(kind: Kind, status: str) -> None:
    columns = told(kind, publish_id="p", tiktok_video_id="v", video_url="u").columns
    assert columns["status"] == status
    # A draft in an inbox is not published yet.
    published_at = AT if kind is Kind.PUBLISHED else None
    assert (columns["published_at"], columns["ended_at"]) == (published_at, AT)
    assert (columns["publish_id"], columns["tiktok_video_id"], columns["video_url"]) == (
        "p",
        "v",
        "u",
    )
    assert (columns["sweep_at"], columns["next_attempt_at"], columns["held"]) == (None, None, False)


def test_evidence_of_an_earlier_attempt_leaves_the_sequence_of_the_current_one() -> None:
    columns = told(Kind.PUBLISHED, post=replace(POST, status="retry_scheduled"), attempt=1, sequence=99).columns
    assert columns["status"] == "published"
    assert "publisher_sequence" not in columns


def test_late_evidence_does_not_lower_the_sequence() -> None:
    assert told(Kind.PUBLISHED, sequence=1).columns["publisher_sequence"] == 3


def test_a_retryable_failure_is_retried() -> None:
    columns = told(Kind.FAILED_FINAL, reason=WHY, failure=Failure(retryable=True), publish_id="p").columns
    assert (columns["status"], columns["retry_count"]) == ("retry_scheduled", 2)
    assert columns["next_attempt_at"] == NOW + timedelta(minutes=5)
    assert (columns["publish_id"], columns["error_code"], columns["sweep_at"]) == (None, "tiktok_busy", None)


def test_a_final_failure_ends_the_post_in_the_publishers_words() -> None:
    columns = told(Kind.FAILED_FINAL, reason=WHY, failure=Failure(retryable=False)).columns
    assert (columns["status"], columns["error_code"], columns["error_message"]) == ("failed", "tiktok_busy", "TikTok is busy.")
    assert columns["ended_at"] == AT


def test_the_last_attempt_says_so() -> None:
    post = replace(POST, retry_count=4)
    columns = told(Kind.FAILED_FINAL, post=post, reason=WHY, failure=Failure(retryable=True)).columns
    assert (columns["status"], columns["error_code"]) == ("failed", "tiktok_busy")
    assert columns["error_hint"] == "Wait. It is not tried again by itself: retry it when what it failed of has passed."
    assert columns["error_message"] == "Given up after 5 attempts. The last one failed: TikTok is busy."


@pytest.mark.parametrize("deadline", [NOW + timedelta(minutes=4), None])
def test_no_attempt_beyond_the_deadline(deadline: datetime | None) -> None:
    post = replace(POST, publish_before=deadline)
    columns = told(Kind.FAILED_FINAL, post=post, failure=Failure(retryable=True)).columns
    assert (columns["status"], columns["error_code"]) == ("failed", "deadline_passed")
    assert "The attempt failed." in columns["error_message"]


def test_a_late_proof_ends_an_unconfirmed_post_without_another_attempt() -> None:
    post = replace(POST, status="unconfirmed")
    columns = told(Kind.FAILED_FINAL, post=post, reason=WHY, failure=Failure(retryable=True)).columns
    assert (columns["status"], columns["error_code"]) == ("failed", "tiktok_busy")
    assert columns["next_attempt_at"] is None
    assert columns["error_message"] == "TikTok is busy."
    assert columns["error_hint"] == "Wait. It is not tried again by itself: retry it when what it failed of has passed."


def test_what_a_person_is_to_do_first_stays_in_the_last_hint() -> None:
    """The hint of a failure that passes may ask for something, or promise another attempt, which is not to come."""
    post = replace(POST, retry_count=4)
    for hint, told_hint in (
        (
            "Check the address.",
            "Check the address. It is not tried again by itself: retry it when what it failed of has passed.",
        ),
        ("Nothing to do; it is tried again.", "It is not tried again by itself: retry it when what it failed of has passed."),
        (None, "It is not tried again by itself: retry it when what it failed of has passed."),
    ):
        reason = replace(WHY, hint=hint)
        columns = told(Kind.FAILED_FINAL, post=post, reason=reason, failure=Failure(retryable=True)).columns
        assert columns["error_hint"] == told_hint


def test_unconfirmed() -> None:
    columns = told(Kind.LOST, reason=WHY, publish_id="p").columns
    assert (columns["status"], columns["error_code"], columns["publish_id"], columns["ended_at"]) == (
        "unconfirmed",
        "tiktok_busy",
        "p",
        AT,
    )


def test_cancelled() -> None:
    columns = told(Kind.CANCEL_CONFIRMED).columns
    assert (columns["status"], columns["error_code"], columns["ended_at"]) == ("cancelled", None, AT)


CHANGES_NOTHING = [
    *product([Kind.STARTED, Kind.WAIT, Kind.LOST, Kind.CANCEL_CONFIRMED], [(1, 9), (3, 9), (2, 2)]),
    *product([Kind.SUBMITTED], [(1, 9), (3, 9)]),
]


@pytest.mark.parametrize(("kind", "told_as"), CHANGES_NOTHING)
def test_other_attempts_and_older_news_change_nothing(kind: Kind, told_as: tuple[int, int]) -> None:
    attempt, sequence = told_as
    assert told(kind, post=replace(POST, status="due"), attempt=attempt, sequence=sequence) == Change()


@pytest.mark.parametrize(("attempt", "sequence"), [(1, 9), (3, 9), (2, 2)])
def test_failures_of_other_attempts_are_not_retried_again(attempt: int, sequence: int) -> None:
    change = told(Kind.FAILED_FINAL, failure=Failure(retryable=True), attempt=attempt, sequence=sequence)
    assert change == Change()


def test_the_videos_id_is_filled_in_once() -> None:
    published = replace(POST, status="published", publish_id="p")
    change = told(Kind.PUBLISHED, post=published, publish_id="p", tiktok_video_id="v", video_url="u")
    assert change == Change(PostState.PUBLISHED, {"publish_id": "p", "tiktok_video_id": "v", "video_url": "u"})
    assert told(Kind.PUBLISHED, post=replace(published, tiktok_video_id="v"), tiktok_video_id="w") == Change()
    assert told(Kind.PUBLISHED, post=published) == Change()


def test_the_video_that_its_owner_named_gives_way_to_tiktoks() -> None:
    named = replace(POST, status="published", tiktok_video_id="v", video_url="u", video_id_by_owner=True)
    columns = {"tiktok_video_id": "w", "video_url": None, "video_id_by_owner": False}
    assert told(Kind.PUBLISHED, post=named, tiktok_video_id="w") == Change(PostState.PUBLISHED, columns)
    assert told(Kind.PUBLISHED, post=named, tiktok_video_id="v") == Change()
    assert told(Kind.PUBLISHED, post=named, attempt=1, tiktok_video_id="w") == Change(), "an earlier attempt is another video"
