"""Starts one program of the stack: supervisor runs `python -m localstack.launch <spec>`, which becomes the program.

The spec is a private file, so no secret stands in supervisor's configuration or on a command line. Before the program
takes over, leftovers of its previous life (children of a leader that was killed) are ended, so that a `kill -9` of
anything heals by the restart alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from localstack.identity import Record, birth, end, read_record
from localstack.paths import write_private

SHORT_LIFE = 5.0
"""Seconds; a program that ends sooner is started again after a pause that grows. The first restart is immediate."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0


@dataclass(frozen=True)
class Spec:
    """One program: what to execute, with which whole environment, where, as whom."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(repr=False)
    cwd: str
    records: str
    uid: int | None = None
    gid: int | None = None
    postmaster_pid: str | None = None

    def write(self, folder: Path) -> Path:
        """Store as `<name>.json` in `folder`, readable by the owner only."""
        path = folder / f"{self.name}.json"
        write_private(path, json.dumps(asdict(self), indent=1, sort_keys=True))
        return path


def read_spec(path: Path) -> Spec:
    """Read what `Spec.write` stored."""
    return Spec(**json.loads(path.read_text(encoding="utf-8")))


def main(path: str) -> None:
    """Become the program; returns never."""
    spec = read_spec(Path(path))
    records = Path(spec.records)
    previous = read_record(records, spec.name)
    short_lives = 0
    if previous is not None and previous.pid != os.getpid():
        end([previous], signal.SIGKILL, 0)
        short_lives = short_lives_after(previous, time.time())
        time.sleep(pause_after(short_lives))
    if spec.postmaster_pid is not None:
        drop_stale_postmaster_pid(Path(spec.postmaster_pid))
    Record(spec.name, os.getpid(), birth(os.getpid()) or "", time.time(), short_lives).write(records)
    os.chdir(spec.cwd)
    if spec.uid is not None and spec.gid is not None:
        os.setgroups([])
        os.setgid(spec.gid)
        os.setuid(spec.uid)
    os.execve(spec.argv[0], spec.argv, spec.env)  # noqa: S606 - becoming the program is the point


def short_lives_after(previous: Record, now: float) -> int:
    """Return how many short lives in a row there were, counting the one that ended just now."""
    return previous.short_lives + 1 if 0 <= now - previous.started_at < SHORT_LIFE else 0


def pause_after(short_lives: int) -> float:
    """Return the seconds to wait before the next start."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(short_lives - 2, 10)) if short_lives > 1 else 0.0


def drop_stale_postmaster_pid(path: Path) -> None:
    """Remove PostgreSQL's pid file when its pid belongs to another program now, as after a reboot.

    PostgreSQL itself handles a pid that is free; one in use by a stranger of the same user would keep it from starting.
    """
    try:
        pid = int(path.read_text(encoding="utf-8").split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if b"postgres" not in command:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
