"""What a person is shown of a job: what comes next and when, and why it stands where it does."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from publisher.domain.job import CancelState, Checkpoint, State, Step, Transfer
from publisher.domain.outcomes import Reason
from publisher.domain.watching import Question, open_question, watched_for

_NEXT = {
    Step.QUEUED: "access_token",
    Step.TOKEN: "access_token",
    Step.FETCHING: "fetch",
    Step.CREATOR_INFO: "init",
    Step.INIT_INTENDED: "init",
    Step.INIT_DONE: "upload",
    Step.UPLOADING: "upload",
    Step.UPLOADED: "status",
    Step.POLLING: "status",
}
WAIT_FOR_ACCOUNT = "wait_for_account"
CANCEL = "cancel"
_WATCHING = {Question.OUTCOME: "look_again", Question.VIDEO_ID: "identify"}
SOON = timedelta(seconds=2)
"""Whoever is due for less than this is about to go on."""

CANCELLING = Reason(
    "cancel_under_way",
    "TikTok fetches this post by itself and is asked to give that up; its status will tell whether it did.",
    "Nothing to do; look again in a moment.",
)
WAITS_FOR_PUBLISHER = Reason(
    "waits_for_publisher",
    "Its turn has come, and no publisher has taken it up yet: all are busy, or none is running.",
    "Nothing to do; it goes on by itself. Operators may start more publishers.",
)
PUBLISHER_GONE = Reason(
    "publisher_gone",
    "The publisher that had this post in hand does not answer any more; another one takes it over.",
    "Nothing to do; it goes on where TikTok has it.",
)
WAITS_FOR_PLACE = Reason(
    "waits_for_place",
    "As many videos are on their way to TikTok as one publisher sends at once; this one comes next.",
    "Nothing to do; it goes on by itself. Operators may raise UPLOAD_CONCURRENCY or start more publishers.",
)
_PROCESSING = "TikTok has all it needs and works on the post. That takes a minute as a rule, and sometimes hours."
_NEVER_NAMED = "TikTok tells the id of public videos alone; this one is not public."


@dataclass(frozen=True, slots=True)
class Standing:
    """A job as it is explained. `run_at` is when it is due, or while `in_hand` when the lease of who has it ends."""

    checkpoint: Checkpoint
    run_at: datetime | None
    in_hand: bool
    awaits_account: bool
    is_identified: bool
    reason: Reason | None
    give_up: timedelta

    @property
    def question(self) -> Question | None:
        """What is still open about it once it has ended."""
        checkpoint = self.checkpoint
        return open_question(checkpoint.state, checkpoint.outcome, is_identified=self.is_identified)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What comes next by name (None: nothing), when (None: now, or nobody can say), and why."""

    next_step: str | None
    next_step_at: datetime | None
    reason: Reason | None


def explain(job: Standing, now: datetime) -> Explanation:
    """Return what a person is told of the job at this moment."""
    step = next_step(job)
    is_timed = step not in {None, WAIT_FOR_ACCOUNT} and not job.in_hand and job.run_at is not None and job.run_at > now
    return Explanation(step, job.run_at if is_timed else None, _reason(job, now))


def next_step(job: Standing) -> str | None:
    """Return the name of what comes next, None when nothing more happens by itself."""
    if job.awaits_account:
        return WAIT_FOR_ACCOUNT
    if not job.checkpoint.state.is_end:
        return CANCEL if is_cancelling(job.checkpoint) else _NEXT[job.checkpoint.step]
    return None if job.run_at is None or job.question is None else _WATCHING.get(job.question)


def is_cancelling(checkpoint: Checkpoint) -> bool:
    """Whether TikTok is asked to give up its fetch, and has not refused to."""
    return checkpoint.cancel_wanted and checkpoint.cancel_state is not CancelState.REFUSED


def shows_fetch(checkpoint: Checkpoint) -> bool:
    """Whether the file is on its way from its address."""
    return checkpoint.step is Step.FETCHING and not checkpoint.state.is_end


def shows_upload(checkpoint: Checkpoint) -> bool:
    """Whether there is an upload to show: the file is on its way or there."""
    begun = checkpoint.step in {Step.INIT_DONE, Step.UPLOADING, Step.UPLOADED, Step.POLLING}
    return begun and checkpoint.transfer is Transfer.FILE


def _reason(job: Standing, now: datetime) -> Reason | None:
    match job.checkpoint.state:
        case State.QUEUED | State.RUNNING:
            return _of_moving(job, now)
        case State.UNCONFIRMED:
            return _of_unknown(job, job.reason)
        case State.SUCCEEDED if job.question is Question.VIDEO_ID:
            return _of_unnamed(job)
        case _:
            return job.reason


def _of_moving(job: Standing, now: datetime) -> Reason | None:
    if is_cancelling(job.checkpoint):
        return CANCELLING
    if job.run_at is not None and job.run_at < now - SOON:
        return PUBLISHER_GONE if job.in_hand else WAITS_FOR_PUBLISHER
    if job.reason is None and job.checkpoint.step in {Step.UPLOADED, Step.POLLING}:
        since = job.checkpoint.submitted_at or now
        return Reason(
            "tiktok_processing",
            f"{_PROCESSING} If TikTok has not told how it ended by {_moment(since + job.give_up)}, the post is unconfirmed.",
            "Nothing to do.",
        )
    return job.reason


def _of_unknown(job: Standing, reason: Reason | None) -> Reason | None:
    """Add to why it is not known what is still done to find out."""
    if reason is None:
        return None
    until = _watched_until(job)
    still = "It is not looked for any more." if until is None else f"TikTok is asked again until {_moment(until)}."
    return replace(reason, message=f"{reason.message} {still} A webhook of TikTok settles it at any time.")


def _of_unnamed(job: Standing) -> Reason | None:
    until = _watched_until(job)
    if until is not None:
        awaited = (
            f"TikTok has not told the video's id yet; often it comes after moderation. It is asked for until {_moment(until)}."
        )
        return Reason("video_id_awaited", awaited, "Nothing to do.")
    if job.checkpoint.polls == 0:
        return Reason("video_id_private", _NEVER_NAMED, "Nothing to do.")
    message = (
        "TikTok has not told the video's id, and is not asked for it any more. A webhook of TikTok brings it at any time."
    )
    return Reason("video_id_unknown", message, "Look for the video in the TikTok profile.")


def _watched_until(job: Standing) -> datetime | None:
    """Return when the last planned look is, None when there is none."""
    if job.run_at is None or job.question is None:
        return None
    return job.run_at + timedelta(seconds=watched_for(job.question, job.checkpoint.polls))


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"
