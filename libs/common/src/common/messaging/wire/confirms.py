"""Which message each confirm of the broker speaks of."""

import asyncio
from collections.abc import Sequence
from itertools import takewhile

from common.messaging.wire.frames import Confirm

_UNKNOWN, _CONFIRMED, _REFUSED = range(3)


class Outcomes:
    """What became of messages that were published together, by their places; `failure` is why some are unknown."""

    def __init__(self, number: int) -> None:
        self._of = bytearray(number)
        self.failure: Exception | None = None

    @property
    def confirmed(self) -> list[int]:
        """Those that the broker has."""
        return self._places(_CONFIRMED)

    @property
    def refused(self) -> list[int]:
        """Those that the broker does not take, or that cannot be written: the others may well go through."""
        return self._places(_REFUSED)

    @property
    def unknown(self) -> list[int]:
        """Those that the broker may have or not."""
        return self._places(_UNKNOWN)

    def note(self, place: int, *, is_taken: bool) -> None:
        """Keep the word about one."""
        self._of[place] = _CONFIRMED if is_taken else _REFUSED

    def _places(self, wanted: int) -> list[int]:
        return [place for place, found in enumerate(self._of) if found == wanted]


class Confirms:
    """Counts the messages of one channel as the broker does, and matches its confirms to them."""

    def __init__(self) -> None:
        self._sent = 0
        self._waiting: dict[int, tuple[Outcomes, int]] = {}
        self._all_heard: dict[Outcomes, asyncio.Future[None]] = {}
        self._left: dict[Outcomes, int] = {}

    def begin(self) -> None:
        """Count from the start: the channel is new. Whoever still waits learns that the old one is lost."""
        self._sent = 0
        self._waiting.clear()
        self._left.clear()
        waiting, self._all_heard = self._all_heard, {}
        for all_heard in waiting.values():
            if not all_heard.done():
                all_heard.set_exception(ConnectionError("the connection was lost before the confirm"))

    def expect(self, outcomes: Outcomes, places: Sequence[int]) -> asyncio.Future[None]:
        """Count these as sent next, in this order; the future is done when the broker has spoken about all of them."""
        all_heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not places:
            all_heard.set_result(None)
            return all_heard
        for tag, place in enumerate(places, start=self._sent + 1):
            self._waiting[tag] = (outcomes, place)
        self._sent += len(places)
        self._left[outcomes] = len(places)
        self._all_heard[outcomes] = all_heard
        return all_heard

    def hear(self, confirms: Sequence[Confirm]) -> None:
        """Take the broker's word; what nobody waits for any more is passed over."""
        for tag, multiple, is_taken in confirms:
            tags = list(takewhile(tag.__ge__, self._waiting)) if multiple else [tag]
            for one in tags:
                found = self._waiting.pop(one, None)
                if found is not None:
                    self._note(*found, is_taken=is_taken)

    def _note(self, outcomes: Outcomes, place: int, *, is_taken: bool) -> None:
        outcomes.note(place, is_taken=is_taken)
        self._left[outcomes] -= 1
        if self._left[outcomes] == 0:
            del self._left[outcomes]
            all_heard = self._all_heard.pop(outcomes)
            if not all_heard.done():
                all_heard.set_result(None)
