"""What TikTok's webhooks told of the publication that a job run is about."""

from publisher.clients.tiktok_troubles import failure_from
from publisher.domain.claims import Claims
from publisher.runner.run import JobRun
from publisher.storage import claims as stored


async def claims_of(run: JobRun) -> Claims | None:
    """Return what was told of the job's publication, None when nothing was or it has none that is known."""
    job = run.job
    if job.publish_id is None or job.open_id is None:
        return None
    async with run.database.read() as connection:
        found = await stored.claims_of(connection, job.publish_id, job.open_id)
    if found is None:
        return None
    return Claims(
        heard_at=found.heard_at,
        is_live=found.completed_at is not None or found.public_at is not None,
        is_delivered=found.delivered_at is not None,
        failure=failure_from(found.fail_reason) if found.failed_at is not None else None,
        video_ids=found.video_ids,
    )
