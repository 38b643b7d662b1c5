"""What a stack consists of: addresses, replicas and overrides. Stored once it is healthy, so that later commands mean the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from localstack.errors import StackError
from localstack.paths import Paths, write_private
from localstack.ports import ADDRESS_SETTINGS, MAX_REPLICAS, MAX_REPLICAS_DEFAULT, SERVICES, Ports
from localstack.setting_names import declared
from tiktok.app_credentials import is_tiktok_itself

PER_PROCESS = frozenset(
    {
        "AMQP_URL",
        "DATABASE_URL",
        "HTTP_HOST",
        "HTTP_PORT",
        "HTTP_SHARED_PORT",
        "METRICS_PORT",
        "SERVICE_INSTANCE",
        "SERVICE_PRIVATE_KEY",
        "SIMULATOR_HOST",
        "SIMULATOR_PORT",
    }
)
"""Settings that differ from process to process: the same value for all, taken from a shell, would break them."""

PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "TZ")
PASSED_ON_PREFIXES = ("AWS_", "OTEL_")
SERVERS = ("postgres", "epmd", "rabbitmq")
TRUE_WORDS = frozenset({"1", "true", "t", "yes", "y", "on"})
HTTPS_REFUSED = (
    "REQUIRE_HTTPS is not for the local stack: nothing in front of its gateway ends HTTPS, so every request would be refused."
    " Nothing was changed. Leave it out here; with containers, put a proxy that ends HTTPS in front (docs/operations.md)."
)
TIKTOK_URLS = ("TIKTOK_API_URL", "TIKTOK_AUTHORIZE_URL")
TIKTOK_APP = ("TIKTOK_CLIENT_KEY", "TIKTOK_CLIENT_SECRET")
"""Its own ones, which the stack makes for the simulator, are nothing to TikTok; published ones are refused by the services."""


@dataclass(frozen=True)
class Blueprint:
    """The wanted stack. `environment` goes to every service that declares a name, `service_environment` to one.

    `modules` says which module runs a service, where that is not its own; for tests.
    """

    ports: Ports = field(default_factory=Ports)
    servers_only: bool = False
    durable: bool = True
    replicas: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    service_environment: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    modules: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [name for name in TIKTOK_URLS if self.environment.get(name)]
        if len(given) == 1:
            raise StackError(f"set both {' and '.join(TIKTOK_URLS)}, or neither (then the simulator is used)")
        missing = [n for n in TIKTOK_APP if not (self.environment.get(n) or self.environment.get(f"{n}_FILE"))]
        if missing and is_tiktok_itself(self.environment.get(TIKTOK_URLS[0], "")):
            raise StackError(f"publishing to TikTok itself needs {' and '.join(missing)}")

    @property
    def simulated(self) -> bool:
        """Whether the simulator stands in for TikTok."""
        return not self.servers_only and not self.environment.get(TIKTOK_URLS[0])

    def count(self, service: str) -> int:
        """Return the number of replicas of a service."""
        return self.replicas.get(service, 1)

    def processes(self, service: str) -> list[str]:
        """Return the program names of a service's replicas."""
        return [f"{service}-{number}" for number in range(1, self.count(service) + 1)]

    def programs(self) -> list[str]:
        """Return every program of the stack, in the order they start."""
        services = [] if self.servers_only else [name for service in SERVICES for name in self.processes(service)]
        return [*SERVERS, *(["simulator"] if self.simulated else []), *services]

    def scaled(self, service: str, count: int) -> Self:
        """Return the same stack with `count` replicas of a service; raises StackError when that cannot be."""
        if service not in SERVICES:
            raise StackError(f"there is no service {service}; the services are {', '.join(SERVICES)}")
        limit = MAX_REPLICAS.get(service, MAX_REPLICAS_DEFAULT)
        if not 1 <= count <= limit:
            raise StackError(f"{service} can have 1 to {limit} replicas here, not {count}")
        wanted = replace(self, replicas={**self.replicas, service: count})
        require_distinct_ports(wanted)
        return wanted

    def save(self, paths: Paths) -> None:
        """Store as the state of the stack; readable by the owner only, because overrides may be secrets."""
        self._write(paths.state)

    def save_configured(self, paths: Paths) -> None:
        """Store as what the process manager was told last; whether it works, only `save` says."""
        self._write(paths.configured)

    def _write(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, paths: Paths) -> Self | None:
        """Return what the last successful `up` stored, or None."""
        return cls._read(paths.state)

    @classmethod
    def load_configured(cls, paths: Paths) -> Self | None:
        """Return what the process manager was told last, or None."""
        return cls._read(paths.configured) or cls.load(paths)

    @classmethod
    def _read(cls, path: Path) -> Self | None:
        try:
            state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(**{**state, "ports": Ports(**state["ports"])})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], before: Self | None, *, running: bool) -> Self:
        """Return the stack that an environment describes; numbers of replicas stay as they were `before`.

        A stack that runs also keeps the addresses and settings it was started with, unless the environment names them.
        Raises StackError on addresses that are none or that collide with each other, and on REQUIRE_HTTPS.
        """
        if environment.get("REQUIRE_HTTPS", "").strip().lower() in TRUE_WORDS:
            raise StackError(HTTPS_REFUSED)
        kept = before if running else None
        wanted = cls(
            ports=Ports.from_environment(environment, kept.ports if kept else Ports()),
            replicas=dict(before.replicas) if before else {},
            environment={**(kept.environment if kept else {}), **overrides(environment)},
        )
        # One that an earlier version took and kept would make every start of the stack fail.
        wanted.environment.pop("REQUIRE_HTTPS", None)
        require_distinct_ports(wanted)
        return wanted


def listening_ports(blueprint: Blueprint) -> dict[str, dict[str, tuple[int, str]]]:
    """Return, by program, what it listens on: description -> (port, field of `Ports` the port comes from)."""
    ports = blueprint.ports
    listening = {
        "postgres": {"PostgreSQL": (ports.postgres, "postgres")},
        "rabbitmq": {
            "RabbitMQ": (ports.amqp, "amqp"),
            "RabbitMQ's Erlang distribution": (ports.distribution, "distribution"),
        },
        "epmd": {"Erlang's port mapper": (ports.epmd, "epmd")},
        "simulator": {"TikTok simulator": (ports.simulator, "simulator")},
    }
    for service in SERVICES:
        for replica, name in enumerate(blueprint.processes(service), start=1):
            field_name = "gateway" if name == "gateway-1" else "internal"
            listening[name] = {name: (ports.http(service, replica), field_name)}
            if ports.together(service):
                listening[name][f"{service}, all replicas"] = (ports.together(service), "internal")
            if ports.metrics:
                listening[name][f"metrics of {name}"] = (ports.metrics_port(service, replica), field_name)
    return {name: listening[name] for name in blueprint.programs()}


def require_distinct_ports(blueprint: Blueprint) -> None:
    """Raise StackError, naming the settings, when two parts of a stack would listen on the same port."""
    entries = [(what, *entry) for named in listening_ports(blueprint).values() for what, entry in named.items()]
    holders: dict[int, tuple[str, str]] = {}
    lines = []
    for what, port, field_name in entries:
        if port in holders and holders[port][0] != what:
            other, other_field = holders[port]
            settings = " and ".join(dict.fromkeys((ADDRESS_SETTINGS[other_field], ADDRESS_SETTINGS[field_name])))
            lines.append(f"{settings} collide: {other} and {what} would both listen on port {port}")
        holders[port] = (what, field_name)
    if lines:
        raise StackError("\n".join(lines))


def overrides(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings in an environment: names some service declares (or `NAME_FILE`), and a few of the platform's.

    An empty value counts as not set.
    """
    names = frozenset().union(*(declared(program) for program in (*SERVICES, "simulator"))) - PER_PROCESS
    return {
        name: value
        for name, value in environment.items()
        if value and (name.removesuffix("_FILE") in names or is_platform_name(name))
    }


def is_platform_name(name: str) -> bool:
    """Whether a variable is meant for libraries (object storage, telemetry, certificates) rather than for a setting."""
    return name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
