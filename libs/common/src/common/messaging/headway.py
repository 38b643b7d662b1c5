"""Whether a consumer has handled what had waited in its queues when it connected.

Whoever acts by the clock must not overtake what was asked for before, while nobody listened.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

QUIET_S = 2.0
"""Other consumers take their part of what waited, and do not tell. When nothing has come for so long, they have handled it."""
PATIENCE_S = 30.0
"""A flood of messages, or one that is not to be handled, holds up nobody for longer."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A queue as its consumer found it: how many messages waited, and how many other consumers there were."""

    messages: int
    consumers: int


@dataclass
class _Stretch:
    """The life of one connection."""

    began: float
    untaken: dict[str, int]
    """By queue, of what waited there."""
    has_others: bool
    in_hand: int = 0
    heard: float = field(init=False)

    def __post_init__(self) -> None:
        self.heard = self.began

    def is_behind(self, now: float) -> bool:
        if self.in_hand:
            return True
        if not self.has_others and not any(self.untaken.values()):
            return False
        return now - self.heard < QUIET_S


class Headway:
    """Follows a consumer through the queues named; the consumer tells it of its connections and deliveries.

    Queues are first in, first out: as many deliveries as had waited are those that had, whoever gets them.
    """

    def __init__(self, *queues: str) -> None:
        self._queues = frozenset(queues)
        self._stretch: _Stretch | None = None
        self._is_through = False

    @property
    def is_connected(self) -> bool:
        """Whether the consumer hears what comes."""
        return self._stretch is not None

    def is_behind(self) -> bool:
        """Return whether something of what had waited at the last connecting is to be handled still; for 30 s after it at most."""
        stretch = self._stretch
        if stretch is None or self._is_through:
            return False
        now = asyncio.get_running_loop().time()
        is_behind, seconds = stretch.is_behind(now), now - stretch.began
        self._is_through = not is_behind or seconds >= PATIENCE_S
        if self._is_through:
            tell = _log.warning if is_behind else _log.info
            tell("not_caught_up" if is_behind else "caught_up", seconds=round(seconds, 3), left=stretch.untaken)
        return not self._is_through

    def begin(self, found: Mapping[str, Found]) -> None:
        """Note that it is connected, and how it found the queues just before it began to consume."""
        mine = {name: queue for name, queue in found.items() if name in self._queues}
        untaken = {name: queue.messages for name, queue in mine.items()}
        has_others = any(queue.consumers for queue in mine.values())
        self._stretch = _Stretch(asyncio.get_running_loop().time(), untaken, has_others)
        self._is_through = not has_others and not any(untaken.values())
        if not self._is_through:
            _log.info("catching_up", waiting=untaken, beside_others=has_others)

    def end(self) -> None:
        """Note that the connection is lost."""
        self._stretch = None

    def take(self, queue: str) -> Callable[[object], None]:
        """Note a delivery; call what is returned once it is settled, with anything."""
        stretch = self._stretch
        if stretch is None or not stretch.untaken.get(queue):
            return _nothing
        stretch.untaken[queue] -= 1
        stretch.in_hand += 1

        def settled(_: object) -> None:
            stretch.in_hand -= 1
            stretch.heard = asyncio.get_running_loop().time()

        return settled


def _nothing(_: object) -> None:
    """Do nothing: the delivery did not wait."""
