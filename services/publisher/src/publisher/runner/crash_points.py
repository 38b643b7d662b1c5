"""Named points at which a test lets the process die, or hang, to show what a replica that takes over finds.

mid_fetch            half of a file has come from its address
after_fetch          the whole file is in storage, nothing of it is checkpointed
after_fetch_stored   its sha256 is checkpointed
after_init_intent    the intent of an init is stored, the call not made
init_checked         the lease was good a moment ago, the init goes out now
after_init_answer    TikTok answered the init, nothing of it is stored
after_cancel_answer  TikTok agreed to give up a fetch, nothing of it is stored
before_chunk:K       before chunk K (from 0) is sent
piece_checked:K      the lease was good a moment ago, a piece of chunk K goes out now
mid_chunk:K          half of chunk K is sent
after_last_chunk     TikTok has confirmed the last byte, nothing of it is stored
while_polling        a status call is about to be made
lease_nearly_over    a lease in hand has less than half of its length left: it was not renewed when it should have been

`stop:POINT` stops the process there (SIGSTOP) instead; what it does once it is continued is the test.
"""

import os
import signal
from pathlib import Path
from typing import NoReturn

STOP = "stop:"


class CrashPoints:
    """Kills (or stops) the process at the chosen point, or at one that a file in `folder` is named after, else does nothing.

    The file goes first: of all processes that share the folder, one dies, once.
    """

    def __init__(self, chosen: str = "", folder: Path | None = None) -> None:
        self._chosen = chosen
        self._folder = folder

    def reach(self, point: str) -> None:
        """Tell that the point is reached."""
        if (self._chosen and point == self._chosen) or self._was_armed(point):
            _die()
        if (self._chosen and f"{STOP}{point}" == self._chosen) or self._was_armed(f"{STOP}{point}"):
            os.kill(os.getpid(), signal.SIGSTOP)

    def _was_armed(self, point: str) -> bool:
        if self._folder is None:
            return False
        try:
            (self._folder / point).unlink()
        except FileNotFoundError:
            return False
        return True


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable: the process is dead")
