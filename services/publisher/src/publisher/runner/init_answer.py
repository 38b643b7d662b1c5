"""The answer to an init that publishes by itself, when the checkpoint that was to hold it could not be stored."""

import asyncio
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_exception, wait_exponential_jitter

from common.database.failures import is_database_away
from publisher.domain.outcomes import Submitted
from publisher.runner.conclude import Outcome, conclude
from publisher.runner.run import JobRun
from publisher.storage import jobs, looks

_log = structlog.get_logger(__name__)


async def conclude_or_keep(run: JobRun, outcome: Outcome, changes: dict[str, Any]) -> None:
    """Conclude as `conclude` does; where that does not succeed, the answer to such an init is kept all the same."""
    try:
        await conclude(run, outcome, changes)
    except (Exception, asyncio.CancelledError):
        if isinstance(outcome, Submitted) and outcome.publish_id is not None:
            await _keep(run, outcome.publish_id, outcome.log_id)
        raise


async def _keep(run: JobRun, publish_id: str, log_id: str | None) -> None:
    """Note which publication the job made, whoever holds the job by now, and let TikTok be asked about it.

    That is true whatever became of the lease: such an init is made once. Tried until the database takes it or the replica ends;
    then the log has what can be asked TikTok for.
    """
    _log.error("init_answer_not_stored", publish_id=publish_id, tiktok_log_id=log_id)
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(is_database_away),
        wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.05),
        stop=lambda _: run.stopping,
        reraise=True,
    ):
        with attempt:
            async with run.database.transaction() as tx:
                await jobs.keep_init_answer(tx.connection, run.job.id, publish_id, log_id)
                await looks.look_at(tx.connection, [run.job.id])
