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

MIN_LIFE = 1.0
"""Seconds between two starts of a program that keeps ending; the first restart is immediate."""


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
    if previous is not None and previous.pid != os.getpid():
        end([previous], signal.SIGKILL, 0)
        time.sleep(max(0.0, min(MIN_LIFE, previous.started_at + MIN_LIFE - time.time())))
    if spec.postmaster_pid is not None:
        drop_stale_postmaster_pid(Path(spec.postmaster_pid))
    Record(spec.name, os.getpid(), birth(os.getpid()) or "", time.time()).write(records)
    os.chdir(spec.cwd)
    if spec.uid is not None and spec.gid is not None:
        os.setgroups([])
        os.setgid(spec.gid)
        os.setuid(spec.uid)
    os.execve(spec.argv[0], spec.argv, spec.env)  # noqa: S606 - becoming the program is the point


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
