"""Finds RabbitMQ on the machine, or installs it with the machine's own package manager.

Debian's package starts and enables a system service. The stack runs a private broker, so during the installation a
`policy-rc.d` guard keeps services from starting, and units that the installation enabled are disabled again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localstack.errors import StackError
from localstack.paths import CHECKOUT

DEBIAN_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
BREW_PREFIXES = (Path("/opt/homebrew"), Path("/usr/local"), Path("/home/linuxbrew/.linuxbrew"))
POLICY = Path("/usr/sbin/policy-rc.d")
SAVED_POLICY = Path("/usr/sbin/policy-rc.d.before-cuepost")
GUARD = "#!/bin/sh\n# Cuepost: no service is started while its local stack installs RabbitMQ.\nexit 101\n"
UNITS = ("rabbitmq-server.service", "epmd.service", "epmd.socket")
INSTALL_SECONDS = 900
LOCK = CHECKOUT / ".local" / "rabbitmq-install.lock"
WAIT_FOR_OTHERS = ("-o", "DPkg::Lock::Timeout=600")
"""Seconds that apt-get waits for another one that runs on the machine."""


def find_server() -> Path | None:
    """Return the server's start script itself, not the wrapper in PATH that insists on the system's user and folders."""
    given = os.environ.get("RABBITMQ_SERVER")
    candidates = [Path(given)] if given else []
    candidates.append(DEBIAN_SERVER)
    candidates += sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True)
    candidates += [prefix / "opt/rabbitmq/sbin/rabbitmq-server" for prefix in BREW_PREFIXES]
    candidates += sorted(Path("/opt").glob("rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True)
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def require_server(say: Callable[[str], None], *, lock: Path = LOCK) -> Path:
    """Return the server, installed now if need be; raises StackError with the command to run where we may not.

    `say` is told before anything is installed. Of several that need it at once, one installs and the others wait for it: its
    start script is on the machine long before the package is complete.
    """
    with _one_at_a_time(lock):
        remove_left_guard()
        return find_server() or _installed(say)


def _installed(say: Callable[[str], None]) -> Path:
    if shutil.which("apt-get"):
        _install_with_apt(say)
    elif shutil.which("brew"):
        say("  installing RabbitMQ with brew (once)")
        subprocess.run(["brew", "install", "rabbitmq"], check=False, timeout=INSTALL_SECONDS)
    server = find_server()
    if server is None:
        raise StackError(
            "RabbitMQ is not installed and could not be installed from here. Install it once:\n"
            "  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install --no-install-recommends rabbitmq-server\n"
            "  macOS:           brew install rabbitmq\n"
            "or name the start script of an existing one: RABBITMQ_SERVER=/path/to/sbin/rabbitmq-server"
        )
    return server


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _install_with_apt(say: Callable[[str], None]) -> None:
    prefix = as_root()
    if prefix is None:
        return
    say("  installing RabbitMQ with apt-get (once); the system's own service is neither started nor enabled")
    enabled = _enabled_units()
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    apt = [*prefix, *environment, "apt-get", *WAIT_FOR_OTHERS]
    install = [*apt, "install", "-y", "-q", "--no-install-recommends", "rabbitmq-server"]
    with no_service_starts(prefix):
        done = _run(install)
        if done.returncode != 0:
            _run([*apt, "update", "-q"])
            done = _run(install)
    if done.returncode != 0:
        raise StackError(f"installing rabbitmq-server with apt-get failed:\n{done.stderr.strip()[-2000:]}")
    if shutil.which("systemctl"):
        for unit in sorted(_enabled_units() - enabled):
            _run([*prefix, "systemctl", "disable", "--quiet", unit])
    elif shutil.which("update-rc.d"):
        _run([*prefix, "update-rc.d", "rabbitmq-server", "disable"])


def as_root() -> list[str] | None:
    """How to run a command as root without asking anybody: directly, by sudo, or None when neither works."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and _run(["sudo", "-n", "true"]).returncode == 0:
        return ["sudo", "-n"]
    return None


def _enabled_units() -> set[str]:
    wanted = Path("/etc/systemd/system")
    return {unit for unit in UNITS if any(wanted.glob(f"*.wants/{unit}"))}


@contextmanager
def no_service_starts(prefix: list[str], policy: Path = POLICY, saved: Path = SAVED_POLICY) -> Iterator[None]:
    """Keep package scripts from starting services; what stood at `policy` before stands there again afterwards.

    A guard left by a run that was killed is recognised by its text and not taken for the machine's own policy.
    """
    if policy.exists() and not _is_guard(policy):
        _run([*prefix, "mv", str(policy), str(saved)])
    _run([*prefix, "tee", str(policy)], GUARD)
    _run([*prefix, "chmod", "755", str(policy)])
    try:
        yield
    finally:
        _lift_guard(prefix, policy, saved)


def remove_left_guard(policy: Path = POLICY, saved: Path = SAVED_POLICY) -> None:
    """Take away the guard of a run that was killed and put back what stood there before; without the rights it stays."""
    if not _is_guard(policy):
        return
    prefix = as_root()
    if prefix is not None:
        _lift_guard(prefix, policy, saved)


def _is_guard(policy: Path) -> bool:
    try:
        return policy.read_text(encoding="utf-8", errors="replace") == GUARD
    except OSError:
        return False


def _lift_guard(prefix: list[str], policy: Path, saved: Path) -> None:
    _run([*prefix, "rm", "-f", str(policy)])
    if saved.exists():
        _run([*prefix, "mv", str(saved), str(policy)])


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
