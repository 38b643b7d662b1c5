"""The addresses a stack listens on, all of them settings."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from localstack.errors import StackError

SERVICES = ("accounts", "scheduler", "analytics", "publisher", "gateway")
METRICS_OFFSET = 1000
SHARED_OFFSET = 70
EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 - compared with, and bound to only when the operator says so
MAX_REPLICAS = {"publisher": 19}
MAX_REPLICAS_DEFAULT = 9

ADDRESS_SETTINGS = {
    "gateway": "GATEWAY_ADDRESS",
    "simulator": "SIMULATOR_ADDRESS",
    "amqp": "AMQP_ADDRESS",
    "postgres": "POSTGRES_ADDRESS",
    "internal": "INTERNAL_PORT",
    "epmd": "EPMD_PORT",
    "distribution": "ERLANG_DISTRIBUTION_PORT",
}
"""Field of `Ports` -> environment name. The first four take `host:port` or a port, the others a port."""


@dataclass(frozen=True)
class Ports:
    """Where each part listens; `host` is the address of the gateway, everything else stays on loopback."""

    gateway: int = 8400
    simulator: int = 8490
    amqp: int = 5690
    postgres: int = 5490
    internal: int = 8401
    epmd: int = 4390
    distribution: int = 25690
    host: str = "127.0.0.1"
    metrics: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], default: Ports) -> Ports:
        """Read the settings in `ADDRESS_SETTINGS`, else the default; raises StackError on one that is no address."""
        values: dict[str, Any] = {}
        for field, name in ADDRESS_SETTINGS.items():
            text = environment.get(name, "").strip()
            if not text:
                continue
            host, _, port = text.rpartition(":")
            if not port.isdigit() or not 0 < int(port) < 65536:
                raise StackError(f"{name}={text} is not a port or host:port address, e.g. {name}=127.0.0.1:8500")
            values[field] = int(port)
            if host and field == "gateway":
                values["host"] = host
            elif host not in {"", "127.0.0.1", "localhost"}:
                raise StackError(f"{name}={text}: only the gateway may listen beyond 127.0.0.1")
        return replace(default, **values)

    @classmethod
    def free(cls) -> Self:
        """Return a block of ports nobody uses now, for a stack beside others (tests).

        The block is this process's as long as it lives: of two that choose at once, only one can hold its last port.
        """
        for _ in range(200):
            base = 10_000 + 100 * secrets.randbelow(220)
            if (guard := _hold(base + 99)) is None:
                continue
            ports = cls(base, base + 90, base + 91, base + 92, base + 1, base + 93, base + 94, metrics=False)
            if not any(is_busy(port) for port in ports.fixed()):
                _guards.append(guard)
                return ports
            guard.close()
        raise StackError("found no free block of ports between 10000 and 32000")

    @property
    def gateway_host(self) -> str:
        """The host by which this machine reaches the gateway."""
        return "127.0.0.1" if self.host == EVERY_INTERFACE else self.host

    def fixed(self) -> list[int]:
        """Return the ports of the servers, of the first replica of each service, and those that replicas share."""
        return [getattr(self, field) for field in ADDRESS_SETTINGS] + [
            port for s in SERVICES for port in (self.http(s, 1), self.together(s)) if port
        ]

    def http(self, service: str, replica: int) -> int:
        """Return the HTTP port of a service's replica (counted from 1)."""
        if service == "gateway" and replica == 1:
            return self.gateway
        if service == "publisher":
            return self.internal + 9 + replica
        if replica == 1:
            return self.internal + SERVICES.index(service)
        tens = ("accounts", "scheduler", "analytics", "gateway").index(service)
        return self.internal + 29 + 10 * tens + replica

    def together(self, service: str) -> int:
        """Return the port that all replicas of an internal service listen on, and others ask; 0 for the gateway."""
        return 0 if service == "gateway" else self.internal + SHARED_OFFSET + SERVICES.index(service)

    def metrics_port(self, service: str, replica: int) -> int:
        """Return the port of a replica's metrics; 0 (off) where a stack does without."""
        return self.http(service, replica) + METRICS_OFFSET if self.metrics else 0

    def as_dict(self) -> dict[str, int | str | bool]:
        """For the state file; `Ports(**ports.as_dict())` gives it back."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


_guards: list[socket.socket] = []


def _hold(port: int) -> socket.socket | None:
    """Take a port for as long as the returned socket is open; None when another process holds it."""
    guard = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        guard.bind(("127.0.0.1", port))
        guard.listen(1)
    except OSError:
        guard.close()
        return None
    return guard


def is_busy(port: int, host: str = "127.0.0.1") -> bool:
    """Whether some process listens on the port already."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
        return False


def require_free(needed: Mapping[str, tuple[int, str]], ports: Ports) -> None:
    """Check ports before anything starts: `needed` maps what listens to (port, field of `ports` that it comes from).

    Raises StackError naming every port that is taken, and the settings that move them.
    """
    taken = {
        what: (port, field)
        for what, (port, field) in needed.items()
        if is_busy(port, ports.host if field == "gateway" else "127.0.0.1")
    }
    if not taken:
        return
    lines = [f"port {port} ({what}) is in use by another program" for what, (port, _) in taken.items()]
    fields_taken = dict.fromkeys(field for _, field in taken.values())
    changes = [f"{ADDRESS_SETTINGS[field]}={getattr(ports, field) + 100}" for field in fields_taken]
    raise StackError("\n".join([*lines, f"choose other ones, for example:\n  {' '.join(changes)} make up"]))
