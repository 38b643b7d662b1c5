"""Asking TikTok what became of a publication, within its quota."""

from dataclasses import asdict
from typing import Any

from publisher.clients.tiktok_troubles import failure_from
from publisher.domain.following import Seen
from publisher.domain.outcomes import Defer, Look
from publisher.domain.troubles import Trouble, after_status_trouble, is_refusal
from publisher.errors import CallFailed
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.quota import wait_for_quota
from publisher.storage import quotas


class StatusUnknown(Exception):
    """TikTok did not tell; `outcome` is what follows, `changes` what is to be stored with it."""

    def __init__(self, outcome: Outcome, changes: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.outcome = outcome
        self.changes = changes or {}


async def ask(run: JobRun) -> Seen:
    """Return TikTok's status of the job's publish_id. Raises StatusUnknown, LeaseLost."""
    wait = await wait_for_quota(run, quotas.of_status(run.job))
    if wait is not None:
        raise StatusUnknown(Look(wait.seconds), {"reason": asdict(wait.reason), "awaits_quota": wait.awaits})
    run.tools.crash.reach("while_polling")
    try:
        status = await run.tools.tiktok.status(run.job.post.account_id, run.job.publish_id or "", run.lease.check)
    except CallFailed as failed:
        raise unknown(run, failed.trouble) from None
    return Seen(
        status.status,
        post_ids=status.post_ids,
        uploaded_bytes=status.uploaded_bytes,
        failure=failure_from(status.fail_reason) if status.failed else None,
    )


def unknown(run: JobRun, trouble: Trouble) -> StatusUnknown:
    """Return what follows a status call that told nothing."""
    checkpoint = run.job.checkpoint
    now = run.clock.now()
    outcome = after_status_trouble(
        checkpoint, trouble, now, give_up=run.tools.limits.give_up, refused_patience=run.tools.limits.refused_patience
    )
    refused = is_refusal(trouble) and isinstance(outcome, Defer)
    return StatusUnknown(outcome, {"refused_since": (checkpoint.refused_since or now) if refused else None})
