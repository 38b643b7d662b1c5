"""Proof that the trail of analytics holds every event that was published before a moment."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from common.cancellation import is_own_cancellation
from common.clock import utc_now
from common.contracts.analytics import ConfirmStored
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.messaging.command_client import CommandAccepted, CommandClient, CommandUnavailable

SOURCE = "gateway"
TRIES = 8
"""How often as many questions are asked as there are consumers, until each has got one: the broker deals them out in turn."""
PROOF_S = 30.0
"""One proof takes no longer: consumers remember for a minute what they sent away (`common.messaging.assurance`)."""

_log = structlog.get_logger(__name__)


ALL = datetime.min.replace(tzinfo=UTC)
"""Since when the trail is complete that lacks nothing."""
NOTHING = datetime.max.replace(tzinfo=UTC)
"""Since when it is complete while something waits for another try: nobody can be told that it has what they missed."""


@dataclass(frozen=True, slots=True)
class TrailQueue:
    """How many consume the queue of analytics, how many messages wait in its retry tiers, and how many are dead letters."""

    consumers: int
    waiting: int
    dead: int


Look = Callable[[], Awaitable[TrailQueue | None]]


@dataclass(frozen=True, slots=True)
class _Round:
    """What each consumer sent away in all, whether all say that nothing failed just now, and how many were dead letters before."""

    failed: Mapping[str, object]
    everything: bool
    dead: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """What would be different if a message had become a dead letter since: who consumed, what each had sent away, the letters."""

    failed: Mapping[str, object]
    dead: tuple[int, int, int]


class TrailProof:
    """Asks the consumers of analytics' queue; `look` tells of the queue, None when that is not known.

    A question stands behind the events in the queue, so who comes to it has stored what it got before. Each consumer has to
    answer, for what it has in hand itself. They have to be the same ones twice in a row: when one went in between, what it had in
    hand came back to the queue, and may be with one that had answered before. What failed before is in queues that are looked at
    before the questions are asked; what fails while they are asked, its consumer says.

    A dead letter stays until an operator takes it away. Since when it is one, nobody says; so this remembers what it saw. While the
    same consumers answer, none of them sent anything away and there are as many letters, no event became one since.
    """

    def __init__(self, client: CommandClient, look: Look) -> None:
        self._client = client
        self._look = look
        self._seen: _Seen | None = None
        self._seen_since = NOTHING
        self._running: asyncio.Task[datetime | None] | None = None
        self._next: asyncio.Task[datetime | None] | None = None

    async def doubtful(self) -> bool:
        """Return whether the trail lacks events for who knows how long, or that cannot be known."""
        queue = await self._look()
        return queue is None or queue.dead > 0

    async def given(self) -> datetime | None:
        """Return since when the trail is complete: what it lacks of what was published before this call was a dead letter then.

        `ALL` when it lacks nothing, None when some may be on their way still. May take up to half a minute. Who calls while
        questions are out shares the next ones with all others who do.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="trail-proof")
        return await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[datetime | None] | None) -> datetime | None:
        if earlier is not None:
            await asyncio.wait({earlier})
        self._running, self._next = self._next, None
        try:
            async with asyncio.timeout(PROOF_S):
                return await self._ask_twice()
        except (TimeoutError, asyncio.CancelledError) as error:
            # Everybody who waits shares this task: what a lost connection cancels must not end them.
            if isinstance(error, asyncio.CancelledError) and is_own_cancellation():
                raise
            _log.warning("trail_proof_broke_off", reason=type(error).__name__)
            return None

    async def _ask_twice(self) -> datetime | None:
        began = utc_now()
        first = await self._round()
        second = None if first is None else await self._round()
        if first is None or second is None or first.failed.keys() != second.failed.keys():
            return None
        last = await self._look()
        if last is None or last.consumers != len(second.failed):
            return None
        if last.waiting or not first.everything or not second.everything:
            return NOTHING
        seen = _Seen(second.failed, (first.dead, second.dead, last.dead))
        if seen != self._seen:
            self._seen, self._seen_since = seen, began
        return self._seen_since if any(seen.dead) else ALL

    async def _round(self) -> _Round | None:
        """Ask until each consumer has answered for what it had; None when not all of them do."""
        queue = await self._look()
        if queue is None or not queue.consumers:
            return None
        failed: dict[str, object] = {}
        everything = not queue.waiting
        for _ in range(TRIES):
            for answer in await asyncio.gather(*(self._ask() for _ in range(queue.consumers))):
                if answer is None:
                    return None
                failed[str(answer["consumer"])] = answer.get("failed")
                everything = everything and answer.get("everything") is True
            if len(failed) > queue.consumers:
                return None
            if len(failed) == queue.consumers:
                return _Round(failed, everything, queue.dead)
        return None

    async def _ask(self) -> Mapping[str, Any] | None:
        """Return what a consumer answers: its name and whether all that it got was stored; None without an answer."""
        question = wrap(ConfirmStored(), service=SOURCE, subject="trail", context=Context.of_service(SOURCE))
        try:
            reply = await self._client.call(question)
        except (CommandAccepted, CommandUnavailable):
            return None
        return reply.body if reply.body and "consumer" in reply.body else None
