"""Asking TikTok to give up a fetch that a person wants stopped; its status tells what became of it."""

from typing import Any

from publisher.domain.job import CancelState
from publisher.domain.troubles import is_refusal
from publisher.errors import CallFailed
from publisher.runner.run import JobRun


async def ask_to_cancel(run: JobRun) -> dict[str, Any]:
    """Ask once, if that was not done yet; returns what is to be stored of the answer. Raises LeaseLost.

    Without an answer it is asked again with the next look at the status. TikTok's word is not trusted over that status.
    """
    if run.job.checkpoint.cancel_state is not CancelState.WANTED:
        return {}
    try:
        await run.tools.tiktok.cancel(run.job.account_id, run.job.publish_id or "", run.check_send)
    except CallFailed as failed:
        return {"cancel_state": CancelState.REFUSED.value} if is_refusal(failed.trouble) else {}
    run.tools.crash.reach("after_cancel_answer")
    return {"cancel_state": CancelState.ASKED.value}
