"""The table of `make ps`: state, pid, uptime and memory of every program with all its children."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from localstack.stack import Stack

MIB = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One program; `memory` is the PSS of its process tree in bytes (RSS where the system has no PSS)."""

    name: str
    state: str
    pid: int
    uptime: float
    memory: int


def rows(stack: Stack) -> list[Row]:
    """Return one row per program, supervisor itself last; empty when the stack is down."""
    now = time.time()
    found = [
        Row(name, state.state.lower(), state.pid, now - state.started_at if state.pid else 0.0, tree_memory(state.pid))
        for name, state in stack.states().items()
    ]
    order = {name: index for index, name in enumerate(stack.blueprint.programs())}
    found.sort(key=lambda row: (order.get(row.name, len(order)), row.name))
    record = stack.supervisor.record()
    if found and record is not None and record.alive():
        found.append(Row("supervisord", "running", record.pid, now - record.started_at, process_memory(record.pid)))
    return found


def table(found: list[Row]) -> str:
    """Return the rows as text, with the sum of memory."""
    lines = [f"{'program':<16} {'state':<9} {'pid':>8} {'uptime':>10} {'PSS MiB':>9}"]
    for row in found:
        uptime = f"{int(row.uptime) // 3600}:{int(row.uptime) // 60 % 60:02}:{int(row.uptime) % 60:02}"
        pid, since = (str(row.pid), uptime) if row.pid else ("-", "-")
        lines.append(f"{row.name:<16} {row.state:<9} {pid:>8} {since:>10} {row.memory / MIB:>9.1f}")
    lines.append(f"{'sum':<45} {sum(row.memory for row in found) / MIB:>9.1f}")
    return "\n".join(lines)


def tree_memory(pid: int) -> int:
    """Return the memory of a process and all its descendants, in bytes; 0 for none."""
    if not pid:
        return 0
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return 0
    return process_memory(pid) + sum(process_memory(child.pid) for child in children)


def process_memory(pid: int) -> int:
    """Return one process's proportional memory, in bytes; its resident memory where PSS is not to be had."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
