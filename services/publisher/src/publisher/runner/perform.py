"""Performing a job: action after action, as its checkpoint asks, until it waits, ends, or is lost."""

from dataclasses import asdict
from typing import Any

import structlog

from common.database.failures import is_pool_exhausted
from publisher.domain.outcomes import Look
from publisher.domain.progress import WAITS_FOR_PLACE
from publisher.domain.takeover import Action, next_action
from publisher.domain.troubles import INTERNAL_ERROR, Trouble, TroubleKind, after_status_trouble
from publisher.errors import LeaseLost
from publisher.runner.conclude import Outcome, conclude
from publisher.runner.init_answer import conclude_or_keep
from publisher.runner.run import JobRun
from publisher.runner.steps.fetch import fetch
from publisher.runner.steps.follow import poll
from publisher.runner.steps.prepare import prepare
from publisher.runner.steps.status import StatusUnknown
from publisher.runner.steps.upload import resync, send
from publisher.runner.steps.watch import put_off, watch
from publisher.runner.upload_places import NoPlace

PLACE_AGAIN_SECONDS = 5.0
"""When a job that found no place for its bytes looks again, on whichever replica."""

CONNECTION_AGAIN_SECONDS = 2.0
"""When a job that got no connection to the database in time goes on; others have its place meanwhile."""

_MOVES = {Action.FETCH: fetch, Action.SEND: send, Action.RESYNC: resync}

_log = structlog.get_logger(__name__)


async def perform(run: JobRun) -> None:
    """Run the job as far as it goes now. When the lease is lost it ends without a word: the job is another's.

    An error of our own defers the job with growing waits instead of burning it; what has been sent is in the checkpoint. Once
    something may be out, that lasts as long as an outcome is waited for, then the job is unconfirmed. One that has ended stays as
    it ended.
    """
    try:
        try:
            await _perform(run)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - logged, told as a deferral, tried again
            if is_pool_exhausted(error) and not run.job.checkpoint.state.is_end:
                # Hundreds of jobs share few connections: on a busy machine this is no fault, and nothing to tell.
                _log.warning("no_connection_in_time", step=run.job.checkpoint.step)
                await conclude(run, Look(CONNECTION_AGAIN_SECONDS), {})
                return
            _log.exception("job_run_failed", step=run.job.checkpoint.step)
            if run.job.checkpoint.state.is_end:
                await put_off(run)
                return
            await conclude(run, _after_own_error(run), {})
    except LeaseLost:
        _log.warning("lease_lost", step=run.job.checkpoint.step)


def _after_own_error(run: JobRun) -> Outcome:
    """Return what follows an error of our own: what it would for a TikTok that does not answer, so that it ends in the end."""
    trouble, limits = Trouble(TroubleKind.NO_VERDICT, INTERNAL_ERROR), run.tools.limits
    return after_status_trouble(
        run.job.checkpoint, trouble, run.clock.now(), give_up=limits.give_up, refused_patience=limits.refused_patience
    )


async def _perform(run: JobRun) -> None:
    while True:
        action = next_action(run.job.checkpoint, run.clock.now())
        if not isinstance(action, Action):
            await conclude(run, action, {})
            return
        if action is Action.WATCH:
            await watch(run)
            return
        outcome, changes = await _act(run, action)
        if outcome is not None:
            await conclude_or_keep(run, outcome, changes)
            return


async def _act(run: JobRun, action: Action) -> tuple[Outcome | None, dict[str, Any]]:
    try:
        match action:
            case Action.PREPARE:
                return await prepare(run), {}
            case Action.FETCH:
                # A file that has not come as a whole is not kept.
                return await _in_a_place(run, action), {"streamed_bytes": 0}
            case Action.SEND | Action.RESYNC:
                return await _in_a_place(run, action), {}
            case _:
                return await poll(run)
    except StatusUnknown as unknown:
        return unknown.outcome, unknown.changes


async def _in_a_place(run: JobRun, action: Action) -> Outcome | None:
    """Move bytes in a place for them. None when the wait for it changed what is next: the deadline or the address is over."""
    waits, whose = asdict(WAITS_FOR_PLACE), (run.job.context.user_id, run.job.account_id)
    if run.job.reason != waits and not run.tools.places.has_room(*whose):
        await run.store({"reason": waits})
    try:
        async with run.tools.places.place(*whose, unless=run.ends):
            if run.job.reason == waits:
                await run.store({"reason": None})
            if next_action(run.job.checkpoint, run.clock.now()) is not action:
                return None
            return await _MOVES[action](run)
    except NoPlace:
        return Look(0.0 if run.stopping else PLACE_AGAIN_SECONDS, WAITS_FOR_PLACE)
