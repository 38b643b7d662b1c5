"""Sending the file: chunk after chunk, and back in step with TikTok whenever an answer was lost or a replica took over.

Each chunk is intended in the database before it is sent; that checkpoint also holds the result of the chunk before. No second
init is ever made here: what is unclear is asked.
"""

import asyncio
from enum import StrEnum
from typing import Any

from publisher.clients.breakers import LONGEST_PAUSE_SECONDS, BreakerOpen
from publisher.clients.tiktok_troubles import AWAY
from publisher.domain.backoff import defer_wait
from publisher.domain.following import UPLOAD_UNAVAILABLE, UPLOAD_UNKNOWN, after_resync
from publisher.domain.job import Step
from publisher.domain.missing_media import missing
from publisher.domain.outcomes import Defer, Look, Resume, Submitted
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.account import account_away
from publisher.runner.steps.chunk import AddressUnreadable, ChunkUnreadable, send_chunk
from publisher.runner.steps.media_file import storage_away
from publisher.runner.steps.status import ask
from tiktok.chunks import ChunkPlan, ChunkRange, plan_chunks
from tiktok.errors import TikTokUnavailable
from tiktok.upload import ChunkOutcome, ChunkResult

_ENDS = {
    ChunkOutcome.EXPIRED: "upload_expired",
    ChunkOutcome.UNKNOWN_UPLOAD: UPLOAD_UNKNOWN,
    ChunkOutcome.REJECTED: "upload_rejected",
}


class _Turn(StrEnum):
    """Why TikTok has to be asked where to go on."""

    LOST = "lost"
    OUT_OF_STEP = "out_of_step"
    ENDED = "ended"


async def send(run: JobRun) -> Outcome:
    """Send the file from its first byte; only for a job of which no byte was ever intended. Raises as `resync` does.

    The deadline was judged by `next_action` just before; from the first byte on it no longer counts. The account may have been
    paused since the init: then the job waits.
    """
    waits = await account_away(run)
    if waits is not None:
        return waits
    turn = await _send_from(run, plan_chunks(run.job.checkpoint.total_bytes), 0)
    return await resync(run) if isinstance(turn, _Turn) else turn


async def resync(run: JobRun) -> Outcome:
    """Ask TikTok what it has and send the rest. Raises LeaseLost, StatusUnknown."""
    plan = plan_chunks(run.job.checkpoint.total_bytes)
    starts = tuple(chunk.first for chunk in plan.ranges)
    limits = run.tools.limits
    lost, stuck = 0, 0
    while True:
        decision = after_resync(
            run.job.checkpoint,
            await ask(run),
            starts,
            run.clock.now(),
            stuck=stuck,
            lost=lost,
            settle=limits.settle,
            give_up=limits.give_up,
        )
        if isinstance(decision, Look):
            await run.store({"polls": run.job.checkpoint.polls + 1})
        if not isinstance(decision, Resume):
            return decision
        turn = await _send_from(run, plan, decision.offset)
        if not isinstance(turn, _Turn):
            return turn
        advanced = run.job.checkpoint.sent_bytes > decision.offset
        lost = 0 if advanced else lost + (turn is _Turn.LOST)
        stuck = 0 if advanced else stuck + (turn is _Turn.OUT_OF_STEP)


async def _send_from(run: JobRun, plan: ChunkPlan, offset: int) -> Outcome | _Turn:
    """Send chunks from `offset` on, to the last one or until TikTok has to be asked where to go on."""
    is_first = run.job.checkpoint.irrevocable_since is None
    last_chunk_before = run.job.checkpoint.last_chunk_intended
    for chunk in plan.chunks_from(offset):
        if run.stopping:
            return Look(0.0)
        await run.store(_intent(run, plan, chunk), event=run.resumed())
        run.tools.crash.reach(f"before_chunk:{chunk.index}")
        run.unclear = last_chunk_before
        # In a task of its own, whose failure comes back as a value: what it means is decided here, not while unwinding.
        (answer,) = await asyncio.gather(send_chunk(run, chunk), return_exceptions=True)
        if is_first and not run.touched:
            await _take_back_intent(run)
        elif run.job.checkpoint.last_chunk_intended and not run.unclear and _last_byte_stayed(answer):
            run.lease.check()
            await run.store({"last_chunk_intended": False})
        if isinstance(answer, TikTokUnavailable):
            run.lease.check()
            return _Turn.LOST if answer.sent else _unavailable(run, answer.retry_after)
        if isinstance(answer, BreakerOpen):
            return Defer(answer.wait, AWAY)
        if isinstance(answer, ChunkUnreadable) and not answer.gone:
            return storage_away(run)
        if isinstance(answer, AddressUnreadable | ChunkUnreadable):
            gone = isinstance(answer, ChunkUnreadable)
            await _end_upload(run, missing(is_fetched=run.job.fetched is not None).reason.code if gone else "upload_expired")
            return _Turn.ENDED
        result = _result_of(answer)
        if result.outcome is not ChunkOutcome.STORED:
            return await _after_last_answer(run, result)
    # All chunks stored, yet none of them completed the file: TikTok's status tells.
    return _Turn.LOST


def _result_of(answer: ChunkResult | BaseException) -> ChunkResult:
    """Return what became of a chunk. Raises what is not about the chunk."""
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def _after_last_answer(run: JobRun, result: ChunkResult) -> Outcome | _Turn:
    match result.outcome:
        case ChunkOutcome.COMPLETE:
            run.tools.crash.reach("after_last_chunk")
            return Submitted()
        case ChunkOutcome.UNAVAILABLE:
            return _unavailable(run, result.retry_after)
        case ChunkOutcome.OUT_OF_STEP:
            return _Turn.OUT_OF_STEP
        case ChunkOutcome.UNCLEAR:
            return _Turn.LOST
        case _:
            await _end_upload(run, _ENDS[result.outcome])
            return _Turn.ENDED


def _intent(run: JobRun, plan: ChunkPlan, chunk: ChunkRange) -> dict[str, Any]:
    checkpoint = run.job.checkpoint
    progress = {"deferrals": 0} if chunk.first > checkpoint.sent_bytes else {}
    return {
        "step": Step.UPLOADING.value,
        "sent_bytes": chunk.first,
        "irrevocable_since": checkpoint.irrevocable_since or run.clock.now(),
        "last_chunk_intended": checkpoint.last_chunk_intended or chunk.index == plan.count - 1,
        "refused_since": None,
        "reason": None,
        **progress,
    }


async def _end_upload(run: JobRun, code: str) -> None:
    """Note that this upload goes no further; what that means is judged by what TikTok has.

    Once an earlier try may have brought the last chunk there, the upload may be over because it is complete.
    """
    checkpoint = run.job.checkpoint
    may_be_complete = checkpoint.last_chunk_intended and run.unclear
    await run.store(
        {
            "upload_ended_at": checkpoint.upload_ended_at or run.clock.now(),
            "upload_ended_code": checkpoint.upload_ended_code or (UPLOAD_UNKNOWN if may_be_complete else code),
        }
    )


def _last_byte_stayed(answer: ChunkResult | BaseException) -> bool:
    """Whether the chunk cannot have reached TikTok as a whole: its bytes could not be read, or nothing went out."""
    is_lost = isinstance(answer, TikTokUnavailable) and answer.sent
    return isinstance(answer, TikTokUnavailable | BreakerOpen | ChunkUnreadable | AddressUnreadable) and not is_lost


async def _take_back_intent(run: JobRun) -> None:
    """Note that nothing of the file has left: it may be cancelled, and its deadline holds, as if it had not been tried."""
    run.lease.check()
    await run.store({"step": Step.INIT_DONE.value, "irrevocable_since": None, "last_chunk_intended": False})


def _unavailable(run: JobRun, retry_after: float | None = None) -> Defer:
    named = min(retry_after, LONGEST_PAUSE_SECONDS) if retry_after else None
    return Defer(named or defer_wait(run.job.checkpoint.deferrals), UPLOAD_UNAVAILABLE)
