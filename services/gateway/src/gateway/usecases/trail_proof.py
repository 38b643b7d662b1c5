"""Proof that the trail of analytics holds every event that was published before a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

import structlog

from common.cancellation import is_own_cancellation
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


@dataclass(frozen=True, slots=True)
class TrailQueue:
    """How many consume the queue of analytics, and how many messages wait in its retry tiers or are dead letters."""

    consumers: int
    held_back: int


class Stored(Enum):
    """What is known of the events that were published before a moment."""

    ALL = "all"
    """The trail holds them."""
    BUT_FAILED = "but_failed"
    """It holds them, but for some that could not be stored, and wait for another try or for an operator."""
    UNKNOWN = "unknown"
    """Some may be on their way still."""


Look = Callable[[], Awaitable[TrailQueue | None]]


@dataclass(frozen=True, slots=True)
class _Round:
    """The consumers that answered, and whether they and the queues say that nothing failed."""

    consumers: frozenset[str]
    everything: bool


class TrailProof:
    """Asks the consumers of analytics' queue; `look` tells of the queue, None when that is not known.

    A question stands behind the events in the queue, so who comes to it has stored what it got before. Each consumer has to
    answer, for what it has in hand itself. They have to be the same ones twice in a row: when one went in between, what it had in
    hand came back to the queue, and may be with one that had answered before. What failed before is in queues that are looked at
    before the questions are asked; what fails while they are asked, its consumer says.
    """

    def __init__(self, client: CommandClient, look: Look) -> None:
        self._client = client
        self._look = look
        self._running: asyncio.Task[Stored] | None = None
        self._next: asyncio.Task[Stored] | None = None

    async def given(self) -> Stored:
        """Return what the trail holds now of what was published before this call.

        May take up to half a minute. Who calls while questions are out shares the next ones with all others who do.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="trail-proof")
        return await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[Stored] | None) -> Stored:
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
            return Stored.UNKNOWN

    async def _ask_twice(self) -> Stored:
        first = await self._round()
        second = None if first is None else await self._round()
        if first is None or second is None or first.consumers != second.consumers:
            return Stored.UNKNOWN
        last = await self._look()
        if last is None or last.consumers != len(first.consumers):
            return Stored.UNKNOWN
        return Stored.ALL if first.everything and second.everything and not last.held_back else Stored.BUT_FAILED

    async def _round(self) -> _Round | None:
        """Ask until each consumer has answered for what it had; None when not all of them do."""
        queue = await self._look()
        if queue is None or not queue.consumers:
            return None
        heard: dict[str, bool] = {}
        for _ in range(TRIES):
            for answer in await asyncio.gather(*(self._ask() for _ in range(queue.consumers))):
                if answer is None:
                    return None
                consumer, everything = answer
                heard[consumer] = everything and heard.get(consumer, True)
            if len(heard) > queue.consumers:
                return None
            if len(heard) == queue.consumers:
                return _Round(frozenset(heard), all(heard.values()) and not queue.held_back)
        return None

    async def _ask(self) -> tuple[str, bool] | None:
        """Return who answers, and whether all that it got was stored; None without an answer."""
        question = wrap(ConfirmStored(), service=SOURCE, subject="trail", context=Context.of_service(SOURCE))
        try:
            reply = await self._client.call(question)
        except (CommandAccepted, CommandUnavailable):
            return None
        body = reply.body or {}
        return (str(body["consumer"]), body.get("everything") is True) if "consumer" in body else None
