"""Who a recorded process is: a pid alone may belong to somebody else by now."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from localstack.paths import write_private


@dataclass(frozen=True)
class Record:
    """A process this stack started: its pid, and its birth, which no later process with that pid shares."""

    name: str
    pid: int
    birth: str
    started_at: float
    short_lives: int = 0
    """How many lives before this one ended soon after their start, without a longer one in between."""

    def write(self, folder: Path) -> None:
        """Store the record as `<name>.json` in `folder`."""
        write_private(folder / f"{self.name}.json", json.dumps(asdict(self)))

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return birth(self.pid) == self.birth

    def group(self) -> list[int]:
        """Living pids of the process group the process led, also after its own death; never a stranger's."""
        if self.birth.split(":")[0] != _boot() or birth(self.pid) not in {None, self.birth}:
            return []
        return [pid for pid in psutil.pids() if _group_of(pid) == self.pid and birth(pid) is not None]


def read_record(folder: Path, name: str) -> Record | None:
    """Return the record of a program, or None when it never started (or its record is unreadable)."""
    try:
        return Record(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def read_records(folder: Path) -> list[Record]:
    """Every record in `folder`."""
    found = (read_record(folder, path.stem) for path in sorted(folder.glob("*.json")))
    return [record for record in found if record is not None]


def birth(pid: int) -> str | None:
    """Return an identifier of the process with this pid that outlives clock changes; None when it is gone or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        if Path("/proc/self/stat").exists():
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            return None if fields[0] in {"Z", "X"} else f"{_boot()}:{fields[19]}"
        return f"{_boot()}:{psutil.Process(pid).create_time()}"
    except (OSError, IndexError, psutil.Error):
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return str(int(psutil.boot_time()))


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone already is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def end(records: Iterable[Record], number: signal.Signals, patience: float) -> None:
    """Ask the processes to end with `number`; after `patience` seconds kill what is left of their groups."""
    waiting = list(records)
    for record in waiting:
        if record.alive():
            send(record.pid, number)
    deadline = time.monotonic() + patience
    while any(record.group() for record in waiting) and time.monotonic() < deadline:
        time.sleep(0.05)
    for record in waiting:
        for pid in record.group():
            send(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(record.group() for record in waiting) and time.monotonic() < deadline:
        time.sleep(0.02)
