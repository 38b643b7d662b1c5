"""Dying, or stopping, at the points of `publisher.runner.crash_points`.

`stop:POINT` stops the process there (SIGSTOP) instead; what it does once it is continued is the test.
"""

import os
import signal
from pathlib import Path
from typing import NoReturn

from publisher.runner.crash_points import CrashPoints

STOP = "stop:"


class Crashes(CrashPoints):
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
