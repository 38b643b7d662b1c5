"""Processor time of the processes behind a figure: unlike wall-clock time it hardly depends on what else the machine does."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
import psutil
from yarl import URL


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds of user and system time per part; `rabbitmq` is missing when its process is not on this machine."""

    seconds: Mapping[str, float]

    def per_thousand(self, earlier: "ProcessorTime", number: int) -> dict[str, float]:
        """Return the milliseconds that each part took since `earlier` for a thousand of `number` things."""
        return {
            name: (now - earlier.seconds.get(name, 0.0)) * 1000 / number * 1000
            for name, now in self.seconds.items()
            if now > earlier.seconds.get(name, 0.0)
        }


class ProcessorClock:
    """Reads the processor time of services (by name and process id), of PostgreSQL with all its backends, and of RabbitMQ."""

    def __init__(self, postgres: psutil.Process | None, rabbitmq: psutil.Process | None) -> None:
        self._servers = {
            name: process for name, process in (("postgres", postgres), ("rabbitmq", rabbitmq)) if process is not None
        }

    @classmethod
    async def of_servers(cls, postgres_url: str, amqp_url: str) -> "ProcessorClock":
        """Find the servers' processes; those of another machine or container are left out."""
        return cls(await _postmaster(postgres_url), _listener(URL(amqp_url).port or 5672))

    def read(self, services: Mapping[str, int]) -> ProcessorTime:
        """Return what each has used since it began, children and ended children included."""
        parts = {name: psutil.Process(number) for name, number in services.items()} | self._servers
        return ProcessorTime({name: _with_children(process) for name, process in parts.items()})


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a Markdown table of milliseconds per thousand: a row per label, a column per part, and the sum."""
    parts = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| | " + " | ".join([*parts, "together"]) + " |", "|---" * (len(parts) + 2) + "|"]
    for label, row in rows.items():
        cells = [f"{row[name]:.0f}" if name in row else "" for name in parts]
        lines.append("| " + " | ".join([label, *cells, f"{sum(row.values()):.0f}"]) + " |")
    return "\n".join(lines)


async def _postmaster(url: str) -> psutil.Process | None:
    connection = await asyncpg.connect(url)
    try:
        backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
        return backend.parent() if backend.name().startswith("postgres") else None
    except psutil.Error:
        return None
    finally:
        await connection.close()


def _listener(port: int) -> psutil.Process | None:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(
                found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in process.net_connections("tcp")
            ):
                return process
        except psutil.Error:
            continue  # Another user's, or gone meanwhile.
    return None


def _with_children(process: psutil.Process) -> float:
    total = 0.0
    for one in [process, *process.children()]:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue  # It ended between the two looks; its parent counts it from now on.
        total += times.user + times.system
        if one == process:
            total += times.children_user + times.children_system
    return total
