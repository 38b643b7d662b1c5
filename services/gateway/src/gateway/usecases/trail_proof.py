"""Proof that the trail of analytics holds every event that was published before a moment."""

import asyncio
from collections.abc import Awaitable, Callable

from common.contracts.analytics import ConfirmStored
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.messaging.command_client import CommandAccepted, CommandClient, CommandUnavailable

SOURCE = "gateway"
TRIES = 8
"""How often as many questions are asked as there are consumers, until each has got one: the broker deals them out in turn."""

Consumers = Callable[[], Awaitable[int | None]]


class TrailProof:
    """Asks the consumers of analytics' queue; `consumers` tells how many there are, None when that is not known.

    A question stands behind the events in the queue, so who comes to it has stored what it got before. Each consumer has to
    answer, for what it has in hand itself. They have to be the same ones twice in a row: when one went in between, what it had in
    hand came back to the queue, and may be with one that had answered before.
    """

    def __init__(self, client: CommandClient, consumers: Consumers) -> None:
        self._client = client
        self._consumers = consumers
        self._running: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None

    async def given(self) -> bool:
        """Return whether everything that was published before this call is in the trail now; False when that is not known.

        May take some seconds. Who calls while questions are out shares the next ones with all others who do.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="trail-proof")
        return await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[bool] | None) -> bool:
        if earlier is not None:
            await asyncio.wait({earlier})
        self._running, self._next = self._next, None
        first = await self._answers()
        return first is not None and first == await self._answers() and await self._consumers() == len(first)

    async def _answers(self) -> frozenset[str] | None:
        """Return which consumers there are, each of which has stored what it had; None when not all of them say so."""
        number = await self._consumers()
        if not number:
            return None
        heard: set[str] = set()
        for _ in range(TRIES):
            answers = await asyncio.gather(*(self._ask() for _ in range(number)))
            heard.update(answer for answer in answers if answer is not None)
            if None in answers or len(heard) > number:
                return None
            if len(heard) == number:
                return frozenset(heard)
        return None

    async def _ask(self) -> str | None:
        """Return who answers that it has stored everything; None without such an answer."""
        question = wrap(ConfirmStored(), service=SOURCE, subject="trail", context=Context.of_service(SOURCE))
        try:
            reply = await self._client.call(question)
        except (CommandAccepted, CommandUnavailable):
            return None
        body = reply.body or {}
        return str(body["consumer"]) if body.get("everything") is True else None
