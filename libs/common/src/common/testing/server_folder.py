"""Where the servers of a test run keep their data: in memory where there is room; gone with the run, or with the next one.

A run that is killed leaves its folder, and servers that still run. Each folder is locked by its run as long as that lives,
so whoever finds one unlocked may end what runs there and remove it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "cuepost-servers-"
MEMORY = Path("/dev/shm")  # noqa: S108 - every folder in it is made by mkdtemp
LEAST_BYTES = 4 * 1024**3
"""Free in memory: five runs at once fill about half of it."""


def base_folder(memory: Path = MEMORY) -> Path:
    """Return where the folder of a run is made: in memory if there is such a place, writable and with enough room, else on disk."""
    try:
        free = shutil.disk_usage(memory).free
    except OSError:
        free = 0
    in_memory = free >= LEAST_BYTES and os.access(memory, os.W_OK | os.X_OK)
    return memory if in_memory else Path(tempfile.gettempdir())


class ServerFolder:
    """A folder of its own until `remove`; other users may pass through it (a database server that is not root), not list it."""

    def __init__(self, base: Path, *, stop: Callable[[Path], object]) -> None:
        """Make it below `base`, and remove what killed runs of this user left there: `stop` ends the servers of such a folder."""
        with _locked(base):
            for left in base.glob(f"{PREFIX}*"):
                _remove_if_left(left, stop)
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            self.path.chmod(0o711)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it; its servers must be down."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_if_left(folder: Path, stop: Callable[[Path], object]) -> None:
    """Remove the folder of a run that is no more."""
    try:
        if folder.stat().st_uid != os.geteuid():
            return
        with _locked(folder, wait=False):
            stop(folder)
            shutil.rmtree(folder, ignore_errors=True)
    except (FileNotFoundError, BlockingIOError):
        # Its run removed it just now, or lives.
        return


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder; raises BlockingIOError when another process has it and `wait` is off."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
