"""What an event of the publisher changes in a post: state and details, as a pure function."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from scheduler.domain.post import Post
from scheduler.domain.post_states import MOVING, Happening, Kind, PostState, transition
from scheduler.domain.retry import Failure, GiveUp, RetryAt, RetryPolicy, decide_retry
from scheduler.domain.sandbox import sent_warning, with_truth


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a post may stay in a moving state before the publisher is asked about it."""

    due: timedelta = timedelta(minutes=2)
    publishing: timedelta = timedelta(minutes=10)
    processing: timedelta = timedelta(minutes=30)
    deferred: timedelta = timedelta(minutes=2)
    """Beyond the forecast time of the wait."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a post failed, waits or is unconfirmed: code, sentence for people, hint what to do."""

    code: str
    message: str
    hint: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of the post that hold it."""
        return {"error_code": self.code, "error_message": self.message, "error_hint": self.hint}


ACCOUNT_DISCONNECTED = Reason(
    "account_disconnected", "The post's TikTok account was disconnected.", "Connect it again and plan the post anew."
)
"""Why a post is cancelled that nobody cancelled."""

GIVEN_UP = Reason(
    "internal_error",
    "The post could not be followed to its end because of a fault of ours; nothing was published.",
    "Create the post again; tell the operator if it fails again.",
)
"""Why a post failed whose attempt the scheduler wanted stopped, since it cannot ask about it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the publisher told of an attempt; which fields are set depends on `kind`."""

    kind: Kind
    attempt: int
    sequence: int
    at: datetime
    reason: Reason | None = None
    until: datetime | None = None
    failure: Failure | None = None
    publish_id: str | None = None
    tiktok_video_id: str | None = None
    video_url: str | None = None
    sent_privacy_level: str | None = None
    """The level it was sent with; None: not told."""
    success_follows: bool = False
    """It tells the id of a success whose own report, with the time of publication, is on its way."""

    def happening(self, kind: Kind | None = None) -> Happening:
        """Return it as the state machine takes it."""
        return Happening(kind or self.kind, self.attempt, self.sequence)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the post: the columns to write; `columns` is empty when nothing changes."""

    state: PostState | None = None
    columns: dict[str, Any] = field(default_factory=dict)


_NO_ERROR: dict[str, Any] = {"error_code": None, "error_message": None, "error_hint": None}
_ENDED: dict[str, Any] = {"sweep_at": None, "cancel_at": None, "forecast_at": None, "next_attempt_at": None}
_RETRY_HINT = "It is not tried again by itself: retry it when what it failed of has passed."
_DEADLINE_HINT = "Publish it again with a later deadline."


def judge(post: Post, report: Report, *, policy: RetryPolicy, patience: Patience, now: datetime, jitter: float) -> Change:
    """Return what `report` changes in `post`.

    `now` is the database's clock (it times retries and sweeps), `jitter` a number from [0, 1). Late, repeated and reordered reports
    give an empty change; evidence of publication always counts.
    """
    if report.failure is not None:
        return _failed(post, report, report.failure, policy=policy, now=now, jitter=jitter)
    if report.success_follows and report.attempt == post.attempt and post.state in MOVING:
        return Change(post.state, _stamp(post, report, _ids(report)))
    state = transition(post.standing, report.happening())
    if state is None:
        return _identified(post, report)
    if state is post.state and (report.sequence == post.publisher_sequence or _is_same_wait(post, report)):
        # The same wait told again, in answer to the sweep: the sweep's growing intervals go on.
        return Change()
    return Change(state, _stamp(post, report, {"status": state.value, **_details(post, state, report, patience, now)}))


def _is_same_wait(post: Post, report: Report) -> bool:
    """Whether the wait is told again, from a job that has looked by itself meanwhile."""
    reason = report.reason
    told = (None, None) if reason is None else (reason.code, reason.message)
    return (post.error_code, post.error_message, post.forecast_at) == (*told, report.until)


def _details(post: Post, state: PostState, report: Report, patience: Patience, now: datetime) -> dict[str, Any]:
    match state:
        case PostState.PUBLISHING:
            started_at = post.started_at or report.at
            return {**_NO_ERROR, "started_at": started_at, "forecast_at": None, "sweep_at": now + patience.publishing}
        case PostState.DEFERRED:
            # Without a forecast it waits for its account.
            sweep_at = max(report.until or now, now) + patience.deferred
            return {**_reason(report), "forecast_at": report.until, "sweep_at": sweep_at}
        case PostState.PROCESSING:
            # What TikTok fetches by itself may still be stopped.
            cancel_at = post.cancel_at if post.is_fetched_by_tiktok else None
            submitted = {"submitted_at": report.at, "forecast_at": None, "cancel_at": cancel_at}
            sent = _sent(post, report)
            return {**_NO_ERROR, **_ids(report), **submitted, **sent, "sweep_at": now + patience.processing}
        case PostState.PUBLISHED | PostState.SENT_TO_INBOX:
            # A draft is not published before its creator posts it.
            published_at = report.at if state is PostState.PUBLISHED else None
            released = {"held": False, "held_reason": None}
            ended = {**_NO_ERROR, **_ENDED, **_ids(report), **released, **_sent(post, report)}
            return {**ended, "published_at": published_at, "ended_at": report.at}
        case _:
            ended_at = post.ended_at if state is post.state else report.at
            return {**_reason(report), **_ENDED, **_ids(report), "ended_at": ended_at}


def _sent(post: Post, report: Report) -> dict[str, Any]:
    """Return the warnings that tell with which privacy level it really went out, where that is told."""
    if report.sent_privacy_level is None:
        return {}
    finding = sent_warning(post.privacy_level, report.sent_privacy_level)
    return {"warnings": with_truth(post.warnings, None if finding is None else finding.as_warning())}


def _failed(post: Post, report: Report, failure: Failure, *, policy: RetryPolicy, now: datetime, jitter: float) -> Change:
    """Answer a proof of failure: another attempt by the retry rules, or the end."""
    decision = decide_retry(
        policy,
        failure,
        tries=post.retry_count + 1,
        now=now,
        publish_before=post.publish_before or now,
        jitter=jitter,
    )
    kind = Kind.FAILED_RETRY if isinstance(decision, RetryAt) else Kind.FAILED_FINAL
    state = transition(post.standing, report.happening(kind))
    if state is None:
        return Change()
    columns: dict[str, Any] = {"status": state.value, **_ENDED, **_reason(report)}
    if isinstance(decision, RetryAt) and state is PostState.RETRY_SCHEDULED:
        columns |= {"next_attempt_at": decision.at, "retry_count": post.retry_count + 1, "publish_id": None}
    else:
        columns |= {"ended_at": report.at, **_ids(report)}
        if isinstance(decision, GiveUp):
            columns |= _last_word(decision, report, post.retry_count + 1)
        else:
            columns |= _final(_reason_of(report)).columns()
    return Change(state, _stamp(post, report, columns))


def _last_word(decision: GiveUp, report: Report, tries: int) -> dict[str, Any]:
    """Return the columns that say why there is no further attempt, where the publisher's own reason does not."""
    reason = _reason_of(report)
    if decision.deadline_passed:
        message = f"The next attempt would come after publish_before. The last one failed: {reason.message}"
        return Reason("deadline_passed", message, _DEADLINE_HINT).columns()
    if decision.exhausted:
        message = f"Given up after {tries} attempts. The last one failed: {reason.message}"
        return _final(replace(reason, message=message)).columns()
    return {}


def _reason_of(report: Report) -> Reason:
    return report.reason or Reason("unknown", "The attempt failed.")


def _final(reason: Reason) -> Reason:
    """Return the reason of a failure that passes, and that no attempt follows; what a person can do first stays in its hint."""
    hint = "" if reason.hint is None or reason.hint.startswith("Nothing to do") else f"{reason.hint} "
    return replace(reason, hint=hint + _RETRY_HINT)


def _identified(post: Post, report: Report) -> Change:
    """Fill in the video's id where a published post has none yet, or has only its owner's word for the current attempt's."""
    if post.state is not PostState.PUBLISHED or report.tiktok_video_id in (None, post.tiktok_video_id):
        return Change()
    if post.tiktok_video_id is None:
        return Change(PostState.PUBLISHED, _ids(report))
    if not post.video_id_by_owner or report.attempt != post.attempt:
        return Change()
    return Change(PostState.PUBLISHED, {"video_url": None, **_ids(report), "video_id_by_owner": False})


def _stamp(post: Post, report: Report, columns: dict[str, Any]) -> dict[str, Any]:
    """Remember the publisher's sequence, of the current attempt only: others count by themselves."""
    if report.attempt == post.attempt:
        columns["publisher_sequence"] = max(report.sequence, post.publisher_sequence)
    return columns


def _reason(report: Report) -> dict[str, Any]:
    return report.reason.columns() if report.reason is not None else dict(_NO_ERROR)


def _ids(report: Report) -> dict[str, Any]:
    """Return the ids that the report brings; what it does not know stays as it is."""
    found = {
        "publish_id": report.publish_id,
        "tiktok_video_id": report.tiktok_video_id,
        "video_url": report.video_url,
    }
    return {name: value for name, value in found.items() if value is not None}
