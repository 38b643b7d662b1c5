"""Asking TikTok what became of a publication, within its quota."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from publisher.clients.tiktok_troubles import failure_from
from publisher.domain.claims import without_status
from publisher.domain.following import Seen
from publisher.domain.outcomes import Defer, Look
from publisher.domain.troubles import Trouble, TroubleKind, after_status_trouble, is_refusal
from publisher.errors import CallFailed, QuotaUsedUp
from publisher.runner.claims import claims_of
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.quota import counted
from publisher.runner.steps.refusal import learn
from publisher.storage import quotas


class StatusUnknown(Exception):
    """TikTok did not tell; `outcome` is what follows, `changes` what is to be stored with it."""

    def __init__(self, outcome: Outcome, changes: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.outcome = outcome
        self.changes = changes or {}


def told(seen: Seen, asked_at: datetime) -> dict[str, Any]:
    """Return what is stored of a status: itself, and when TikTok was asked for it."""
    return {"tiktok_status": seen.status, "status_at": asked_at}


async def fetch(run: JobRun, publish_id: str) -> Seen | Defer:
    """Return TikTok's status of a publication, or the wait for its quota. Raises CallFailed, LeaseLost."""
    quota = quotas.of_status(run.job)
    run.tools.crash.reach("while_polling")
    try:
        status = await run.tools.tiktok.status(run.job.account_id, publish_id, counted(run, quota))
    except QuotaUsedUp as used_up:
        return used_up.wait
    except CallFailed as failed:
        if failed.trouble.kind is TroubleKind.BUSY:
            await learn(run, failed.trouble, quota)
        raise
    run.tools.crash.reach("after_status_answer")
    return Seen(
        status.status,
        post_ids=status.post_ids,
        uploaded_bytes=status.uploaded_bytes,
        failure=failure_from(status.fail_reason, status.log_id) if status.failed else None,
        log_id=status.log_id,
    )


async def ask(run: JobRun) -> Seen:
    """Return TikTok's status of the job's publish_id. Raises StatusUnknown, LeaseLost."""
    try:
        seen = await fetch(run, run.job.publish_id or "")
    except CallFailed as failed:
        raise await _unknown(run, failed.trouble) from None
    if isinstance(seen, Defer):
        raise StatusUnknown(Look(seen.seconds), {"reason": asdict(seen.reason), "awaits_quota": seen.awaits})
    return seen


async def _unknown(run: JobRun, trouble: Trouble) -> StatusUnknown:
    """Return what follows a status call that told nothing: look again, or what the webhooks told, or an end."""
    checkpoint, limits = run.job.checkpoint, run.tools.limits
    now = run.clock.now()
    follows = after_status_trouble(checkpoint, trouble, now, give_up=limits.give_up, refused_patience=limits.refused_patience)
    outcome = without_status(follows, await claims_of(run), now, patience=limits.webhook_patience)
    refused = is_refusal(trouble) and isinstance(outcome, Defer)
    return StatusUnknown(outcome, {"refused_since": (checkpoint.refused_since or now) if refused else None})
