"""The events a job tells, made from the job and how a step ended."""

from datetime import datetime, timedelta
from typing import Any

from common.contracts.message import Event
from common.contracts.publisher import (
    EARLIER_ATTEMPT_PUBLISHED,
    PublishCancelled,
    PublishDeferred,
    PublishFailed,
    PublishIdentified,
    PublishStarted,
    PublishSubmitted,
    PublishSucceeded,
    PublishUnconfirmed,
)
from publisher.domain.outcomes import Defer, Fail, Identified, Succeed, Unconfirm
from publisher.domain.video_address import video_address
from publisher.storage.job import Job, JobRef, StoredEvent


def stored(event: Event) -> StoredEvent:
    """Return what is kept of an event, to answer a sweep with."""
    return StoredEvent(event.KEY, event.to_data())


def started(job: Job, replica: str, at: datetime) -> PublishStarted:
    """Tell that a replica took the job for the first time."""
    due_at = job.post.due_at
    return PublishStarted(
        **_common(job, replica), due_at=due_at, started_at=at, lateness_ms=(at - due_at) / timedelta(milliseconds=1)
    )


def deferred(job: Job | JobRef, replica: str, defer: Defer, until: datetime | None) -> PublishDeferred:
    """Tell what the job waits for, and the forecast where there is one."""
    reason = defer.reason
    return PublishDeferred(
        **_common(job, replica),
        mode=job.post.mode if isinstance(job, Job) else None,
        until=until,
        code=reason.code,
        message=reason.message,
        hint=reason.hint,
        log_id=reason.log_id,
    )


def submitted(job: Job, replica: str, publish_id: str, log_id: str | None) -> PublishSubmitted:
    """Tell that TikTok has every byte, or the order to fetch them; `log_id` is that of the init's answer."""
    return PublishSubmitted(
        **_common(job, replica),
        publish_id=publish_id,
        total_bytes=job.checkpoint.total_bytes or None,
        privacy_level=job.sent_privacy_level,
        log_id=log_id,
    )


def succeeded(job: Job, replica: str, end: Succeed, at: datetime) -> PublishSucceeded:
    """Tell that TikTok says it is out; `at` is when that was learned, for want of a better time."""
    video_id = end.post_ids[0] if end.post_ids else None
    return PublishSucceeded(
        **_common(job, replica),
        publish_id=job.publish_id,
        outcome=end.outcome,
        published_at=end.at or at,
        tiktok_video_id=video_id,
        video_url=video_url(job, video_id),
        evidence=end.evidence,
        log_id=end.log_id,
        privacy_level=job.sent_privacy_level,
    )


def failed(job: Job | JobRef, replica: str, end: Fail) -> PublishFailed:
    """Tell that this attempt published nothing and never will."""
    reason = end.reason
    publish_id = job.publish_id if isinstance(job, Job) else None
    return PublishFailed(
        **_common(job, replica),
        code=reason.code,
        message=reason.message,
        hint=reason.hint,
        retryable=end.retryable,
        retry_after=end.retry_after,
        publish_id=publish_id,
        log_id=reason.log_id,
    )


def unconfirmed(job: Job, replica: str, end: Unconfirm) -> PublishUnconfirmed:
    """Tell that the outcome cannot be known."""
    reason = end.reason
    return PublishUnconfirmed(
        **_common(job, replica),
        code=reason.code,
        message=reason.message,
        hint=reason.hint,
        publish_id=job.publish_id,
        log_id=reason.log_id,
    )


def cancelled(job: Job | JobRef, replica: str) -> PublishCancelled:
    """Tell that the attempt was cancelled in time."""
    return PublishCancelled(**_common(job, replica))


def stopped(job: Job | JobRef, replica: str) -> PublishCancelled:
    """Tell that the attempt was stopped because an earlier one is published."""
    return PublishCancelled(**_common(job, replica), code=EARLIER_ATTEMPT_PUBLISHED)


def identified(job: Job, replica: str, found: Identified) -> PublishIdentified:
    """Tell the video's id, which came after the success."""
    return PublishIdentified(
        **_common(job, replica),
        publish_id=job.publish_id,
        tiktok_video_id=found.video_id,
        video_url=video_url(job, found.video_id),
        evidence=found.evidence,
    )


def video_url(job: Job, video_id: str | None) -> str | None:
    """Return the public address of what the job published, None while it is not known."""
    return video_address(job.checkpoint.transfer, job.username, video_id)


def _common(job: Job | JobRef, replica: str) -> dict[str, Any]:
    return {
        "post_id": job.post_id,
        "attempt": job.attempt,
        "job_id": job.id,
        "account_id": job.account_id,
        "replica": replica,
    }
