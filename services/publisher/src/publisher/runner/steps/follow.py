"""After the last byte, or TikTok's order to fetch: TikTok's status until it ends, then the video's id."""

from contextlib import suppress
from typing import Any

from publisher.domain.backoff import identify_wait
from publisher.domain.following import after_poll
from publisher.domain.job import Step
from publisher.domain.outcomes import Look
from publisher.runner import events
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.cancel import ask_to_cancel
from publisher.runner.steps.status import StatusUnknown, ask


async def poll(run: JobRun) -> tuple[Outcome, dict[str, Any]]:
    """Ask once; returns how the job goes on and what is to be stored with it. Raises LeaseLost, StatusUnknown."""
    asked = await ask_to_cancel(run)
    seen = await ask(run)
    checkpoint = run.job.checkpoint
    outcome = after_poll(checkpoint, seen, run.clock.now(), give_up=run.tools.limits.give_up)
    changes: dict[str, Any] = {"tiktok_status": seen.status, "refused_since": None, **asked}
    if isinstance(outcome, Look):
        changes |= {"step": Step.POLLING.value, "polls": checkpoint.polls + 1, "deferrals": 0}
    return outcome, changes


async def identify(run: JobRun) -> None:
    """Look for the id of a published video, less and less often, and in the end not any more."""
    video_ids: tuple[str, ...] = ()
    with suppress(StatusUnknown):
        video_ids = (await ask(run)).post_ids
    looks = run.job.checkpoint.polls + 1
    if video_ids:
        event = events.identified(run.job, run.tools.replica, video_ids[0])
        await run.store({"tiktok_video_id": video_ids[0]}, event=event, ended=True)
    else:
        await run.store({"polls": looks}, ended=True, release_in=identify_wait(looks))
