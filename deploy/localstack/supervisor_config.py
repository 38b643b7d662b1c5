"""Supervisor's configuration: one program per process, each a group of its own, none started but by our word."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from localstack.launch import Spec
from localstack.paths import CHECKOUT, Paths

SOCKET = "supervisor.sock"
STOP_SECONDS = {"postgres": 30, "rabbitmq": 30, "epmd": 5}
STOP_SECONDS_SERVICE = 85
"""The longest grace time is the publisher's, 80 s; whoever has nothing in hand ends at once."""
STOP_SIGNALS = {"postgres": signal.SIGINT}
"""SIGINT is PostgreSQL's fast shutdown: sessions are ended, everything is on disk."""

PRIORITIES = {"postgres": 10, "epmd": 20, "rabbitmq": 30, "simulator": 40}
PRIORITY_SERVICE = 100


def configuration(paths: Paths, specs: Sequence[Spec]) -> str:
    """Return the whole file for these programs; the private specs are written beside it."""
    return "\n".join([_daemon_section(paths), *(_program_section(paths, spec) for spec in specs)])


def _daemon_section(paths: Paths) -> str:
    log = _escaped(paths.log / "supervisord.log")
    lines = [
        "[unix_http_server]",
        f"file={_socket_path(paths.run)}",
        "chmod=0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisord]",
        f"logfile={log}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={_escaped(paths.run / 'supervisord.pid')}",
        f"childlogdir={_escaped(paths.log)}",
        "minfds=4096",
        "umask=022",
        "identifier=cuepost",
    ]
    if os.geteuid() == 0:
        lines.append("user=root")
    return "\n".join(lines) + "\n"


def _program_section(paths: Paths, spec: Spec) -> str:
    path = spec.write(paths.programs)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    log = _escaped(paths.log / f"{spec.name}.log")
    lines = [
        f"[program:{spec.name}]",
        f'command="{_escaped(sys.executable)}" -m localstack.launch "{_escaped(path)}"',
        f"directory={_escaped(CHECKOUT / 'deploy')}",
        # Part of the configuration only so that a changed spec is a changed program.
        f'environment=LOCALSTACK_SPEC="{digest}"',
        "autostart=false",
        "autorestart=true",
        # An end is never "too quick to try again"; the launcher pauses between starts that keep failing.
        "startsecs=0",
        "startretries=1000000",
        f"stopsignal={STOP_SIGNALS.get(spec.name, signal.SIGTERM).name.removeprefix('SIG')}",
        f"stopwaitsecs={STOP_SECONDS.get(spec.name, STOP_SECONDS_SERVICE)}",
        "killasgroup=true",
        f"priority={PRIORITIES.get(spec.name, PRIORITY_SERVICE)}",
        "redirect_stderr=true",
        f"stdout_logfile={log}",
        "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=1",
    ]
    return "\n".join(lines) + "\n"


def _socket_path(folder: Path) -> str:
    """Return a name for the socket that supervisord, whose working folder is `folder`, can bind however deep that is."""
    return f"/proc/self/cwd/{SOCKET}" if Path("/proc/self/cwd").exists() else _escaped(folder / SOCKET)


def _escaped(value: object) -> str:
    """Return a value for supervisor's configuration, where `%` starts an expansion."""
    return str(value).replace("%", "%%")
