"""What a person is told of a job in every situation: what comes next, when, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from publisher.domain.job import CancelState, Checkpoint, State, Step, Transfer
from publisher.domain.outcomes import Reason
from publisher.domain.progress import (
    PUBLISHER_GONE,
    SOON,
    WAITS_FOR_PUBLISHER,
    Standing,
    explain,
    shows_fetch,
    shows_upload,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
LONG_AGO = NOW - SOON - timedelta(seconds=1)
DAY = timedelta(days=1)
WHY = Reason("tiktok_quota", "Six a minute.", "Wait.")
UNKNOWN = Reason("status_never_ended", "TikTok did not say.", "Look.")


def job(step: Step = Step.TOKEN, state: State = State.RUNNING, **changes: Any) -> Standing:
    outcome = changes.pop("outcome", None)
    checkpoint = Checkpoint(
        state, step, Transfer.FILE, LATER, submitted_at=NOW, outcome=outcome, polls=changes.pop("polls", 0)
    )
    fields = {"run_at": LATER, "in_hand": False, "awaits_account": False, "is_identified": False, "reason": None}
    return Standing(checkpoint, **(fields | changes), give_up=DAY)


def told(standing: Standing) -> tuple[str | None, datetime | None, str | None]:
    explained = explain(standing, NOW)
    return explained.next_step, explained.next_step_at, None if explained.reason is None else explained.reason.code


@pytest.mark.parametrize(
    ("step", "next_step"),
    [
        (Step.QUEUED, "access_token"),
        (Step.TOKEN, "access_token"),
        (Step.FETCHING, "fetch"),
        (Step.CREATOR_INFO, "init"),
        (Step.INIT_INTENDED, "init"),
        (Step.INIT_DONE, "upload"),
        (Step.UPLOADING, "upload"),
        (Step.UPLOADED, "status"),
        (Step.POLLING, "status"),
    ],
)
def test_what_moves(step: Step, next_step: str) -> None:
    reason = "tiktok_processing" if step in {Step.UPLOADED, Step.POLLING} else None
    assert told(job(step, in_hand=True)) == (next_step, None, reason)
    assert told(job(step)) == (next_step, LATER, reason)
    assert told(job(step, reason=WHY)) == (next_step, LATER, "tiktok_quota")
    assert told(job(step, run_at=NOW)) == (next_step, None, reason)


def test_every_step_is_covered() -> None:
    for step in Step:
        assert told(job(step))[0]


def test_a_wait_for_the_account_has_no_time() -> None:
    paused = Reason("account_paused", "Paused.", "Resume it.")
    assert told(job(awaits_account=True, reason=paused)) == ("wait_for_account", None, "account_paused")
    assert told(job(Step.POLLING, State.UNCONFIRMED, awaits_account=True, reason=UNKNOWN))[:2] == ("wait_for_account", None)


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
def test_when_nobody_takes_it_up_it_says_so(state: State) -> None:
    waiting = explain(job(state=state, run_at=LONG_AGO, reason=WHY), NOW)
    assert (waiting.next_step_at, waiting.reason) == (None, WAITS_FOR_PUBLISHER)
    gone = explain(job(state=state, run_at=LONG_AGO, in_hand=True), NOW)
    assert (gone.next_step_at, gone.reason) == (None, PUBLISHER_GONE)


def test_a_cancellation_under_way_says_so() -> None:
    for state, shown in ((CancelState.WANTED, True), (CancelState.ASKED, True), (CancelState.REFUSED, False)):
        pull = job(Step.POLLING)
        pull = replace(pull, checkpoint=replace(pull.checkpoint, transfer=Transfer.PULL, cancel_state=state))
        assert told(pull) == (("cancel", LATER, "cancel_under_way") if shown else ("status", LATER, "tiktok_processing"))


def test_polling_says_until_when() -> None:
    reason = explain(job(Step.POLLING), NOW).reason
    assert reason is not None
    assert "by 2026-11-02 12:00 UTC, the post is unconfirmed" in reason.message


def test_an_unknown_outcome_says_what_is_still_done_and_until_when() -> None:
    watched = explain(job(Step.POLLING, State.UNCONFIRMED, reason=UNKNOWN, polls=6), NOW)
    assert (watched.next_step, watched.next_step_at) == ("look_again", LATER)
    assert watched.reason == replace(
        UNKNOWN,
        message="TikTok did not say. TikTok is asked again until 2026-11-07 12:05 UTC. A webhook of TikTok settles it at any time.",
    )
    over = explain(job(Step.POLLING, State.UNCONFIRMED, reason=UNKNOWN, polls=13, run_at=None), NOW)
    assert (over.next_step, over.next_step_at) == (None, None)
    assert over.reason is not None
    assert "It is not looked for any more. A webhook of TikTok settles it at any time." in over.reason.message
    assert explain(job(Step.POLLING, State.UNCONFIRMED), NOW).reason is None


def test_a_video_without_its_id_says_why() -> None:
    published = job(Step.POLLING, State.SUCCEEDED, outcome="published", polls=3)
    assert told(published) == ("identify", LATER, "video_id_awaited")
    reason = explain(published, NOW).reason
    assert reason is not None
    assert "asked for until 2026-11-02 19:05 UTC" in reason.message
    assert told(replace(published, run_at=None)) == (None, None, "video_id_unknown")
    never_asked = replace(published, run_at=None, checkpoint=replace(published.checkpoint, polls=0))
    assert told(never_asked) == (None, None, "video_id_private")
    assert told(replace(published, run_at=None, is_identified=True)) == (None, None, None)


def test_other_ends() -> None:
    draft = job(Step.POLLING, State.SUCCEEDED, outcome="sent_to_inbox")
    assert told(draft) == (None, None, None)
    for state in (State.FAILED, State.CANCELLED):
        assert told(job(state=state, run_at=None, reason=WHY)) == (None, None, "tiktok_quota")


@pytest.mark.parametrize("step", list(Step))
def test_what_is_shown_of_bytes(step: Step) -> None:
    checkpoint = job(step).checkpoint
    assert shows_upload(checkpoint) == (step in {Step.INIT_DONE, Step.UPLOADING, Step.UPLOADED, Step.POLLING})
    assert not shows_upload(replace(checkpoint, transfer=Transfer.PULL))
    assert shows_fetch(checkpoint) == (step is Step.FETCHING)
    assert not shows_fetch(replace(checkpoint, state=State.FAILED))
