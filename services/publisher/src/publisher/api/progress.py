"""The progress of an attempt as the scheduler is told it."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from publisher.domain.outcomes import Reason
from publisher.domain.progress import Standing, explain, shows_fetch, shows_upload
from publisher.domain.troubles import INTERNAL_ERROR
from publisher.storage.job import Job, JobRef


class UploadProgress(BaseModel):
    """Bytes sent of the file, streamed ones not yet confirmed included."""

    sent_bytes: int
    total_bytes: int


class FetchProgress(BaseModel):
    """Bytes of the file that have come from its address; `total_bytes` is null while the address does not tell."""

    fetched_bytes: int
    total_bytes: int | None


class Progress(BaseModel):
    """Where the latest attempt stands and what comes next."""

    attempt: int
    state: str
    step: str
    fetch: FetchProgress | None = None
    upload: UploadProgress | None
    publish_id: str | None
    tiktok_status: str | None
    next_step: str | None
    next_step_at: datetime | None
    reason: dict[str, Any] | None
    updated_at: datetime
    replica: str | None


def progress_of(job: Job, *, give_up: timedelta, now: datetime) -> Progress:
    """Return where the job stands, what comes next, and why; `give_up` is how long an outcome is waited for."""
    checkpoint = job.checkpoint
    told = explain(
        Standing(
            checkpoint=checkpoint,
            run_at=job.run_at,
            in_hand=job.lease_owner is not None,
            awaits_account=job.awaits_account,
            is_identified=job.tiktok_video_id is not None,
            reason=None if job.reason is None else _reason_of(job.reason),
            give_up=give_up,
        ),
        now,
    )
    sent = max(checkpoint.sent_bytes, job.streamed_bytes)
    upload = UploadProgress(sent_bytes=min(sent, checkpoint.total_bytes), total_bytes=checkpoint.total_bytes)
    return Progress(
        attempt=job.attempt,
        state=checkpoint.state.value,
        step=checkpoint.step.value,
        fetch=_fetch_of(job) if shows_fetch(checkpoint) else None,
        upload=upload if shows_upload(checkpoint) else None,
        publish_id=job.publish_id,
        tiktok_status=job.tiktok_status,
        next_step=told.next_step,
        next_step_at=told.next_step_at,
        reason=None if told.reason is None else asdict(told.reason),
        updated_at=job.updated_at,
        replica=job.last_owner,
    )


def unreadable(job: JobRef) -> Progress:
    """Return what is known of a row that makes no job."""
    return Progress(
        attempt=job.attempt,
        state=job.state,
        step=job.step,
        upload=None,
        publish_id=None,
        tiktok_status=None,
        next_step=None,
        next_step_at=None,
        reason=asdict(INTERNAL_ERROR),
        updated_at=job.updated_at,
        replica=None,
    )


def _reason_of(stored: dict[str, Any]) -> Reason:
    return Reason(str(stored.get("code")), str(stored.get("message")), stored.get("hint"), stored.get("log_id"))


def _fetch_of(job: Job) -> FetchProgress:
    return FetchProgress(fetched_bytes=job.streamed_bytes, total_bytes=job.checkpoint.total_bytes or None)
