"""Answers of another service about accounts, remembered for a short while."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from uuid import UUID

from scheduler.clients.silence import Silence

PATIENCE_S = 1.0
"""How long whoever creates a post waits for an answer."""
FRESH_S = 60.0
SILENCE_S = 5.0
"""After a call that failed nobody waits for the next one that long: many creates must not each wait a second."""
MAX_KNOWN = 10_000

V = TypeVar("V")

Ask = Callable[[UUID, UUID, float], Awaitable[V | None]]
"""Asks about (account, user) with so many seconds of patience; None when there is no answer."""


class Remembered(Generic[V]):
    """Answers are kept for a minute, failures for 5 seconds, for at most 10,000 accounts.

    After waits in vain for several accounts there is silence about all for 5 seconds, except for those with more patience.
    """

    def __init__(self, ask: Ask[V]) -> None:
        self._ask = ask
        self._silence = Silence(SILENCE_S)
        self._known: OrderedDict[UUID, tuple[float, V | None]] = OrderedDict()

    async def look(self, account_id: UUID, user_id: UUID, *, patience: float = PATIENCE_S) -> V | None:
        """Return what is known of an account, None when that cannot be found out within `patience` seconds."""
        until, known = self._known.get(account_id, (float("-inf"), None))
        if _now() < until and (known is not None or patience <= PATIENCE_S):
            return known
        if patience <= PATIENCE_S and self._silence.is_kept():
            return None
        since = _now()
        answer = await self._ask(account_id, user_id, patience)
        self._silence.note(account_id, answered=answer is not None, waited=_now() - since)
        self.remember(account_id, answer)
        return answer

    def remember(self, account_id: UUID, answer: V | None) -> None:
        """Keep an answer that was had in another way."""
        self._known[account_id] = (_now() + (FRESH_S if answer is not None else SILENCE_S), answer)
        self._known.move_to_end(account_id)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """Have everything asked anew."""
        self._known.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()
