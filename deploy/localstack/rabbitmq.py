"""The private RabbitMQ of a stack: configuration, environment and programs; the machine's own broker stays untouched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from localstack.definitions import definitions
from localstack.errors import StackError
from localstack.launch import Spec
from localstack.paths import SEARCH_PATH, Paths, write_private
from localstack.ports import Ports

NODE = "cuepost@localhost"
WAL_BYTES = 64 * 1024 * 1024


def broker_url(secrets: dict[str, Any], ports: Ports, user: str) -> str:
    """Return the AMQP address of one of the broker's users."""
    return f"amqp://{user}:{secrets['rabbitmq'][user]}@127.0.0.1:{ports.amqp}/"


def write_configuration(paths: Paths, ports: Ports, secrets: dict[str, Any]) -> None:
    """Write `rabbitmq.conf`, the definitions (password hashes only) and the empty list of plugins."""
    home = paths.rabbitmq
    for folder in ("mnesia", "log", "schema", "config"):
        (home / folder).mkdir(exist_ok=True)
    document = json.dumps(definitions(secrets["rabbitmq"]), indent=1)
    write_private(home / "definitions.json", document)
    write_private(home / "plugins", "[].\n")
    write_private(home / "rabbitmq.conf", _configuration(home, ports))


def _configuration(home: Path, ports: Ports) -> str:
    lines = {
        "listeners.tcp.1": f"127.0.0.1:{ports.amqp}",
        "load_definitions": str(home / "definitions.json"),
        "raft.wal_max_size_bytes": str(WAL_BYTES),
        "disk_free_limit.absolute": "200MB",
        "num_acceptors.tcp": "2",
        "log.file": "false",
        "log.console": "true",
        "log.console.level": "info",
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def server_environment(paths: Paths, ports: Ports) -> dict[str, str]:
    """Return the whole environment of the node (and of its command line tools): nothing of the machine's broker gets in."""
    home = paths.rabbitmq
    return {
        "PATH": f"{erlang_folder()}:{SEARCH_PATH}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_USE_LONGNAME": "false",
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_SCHEMA_DIR": str(home / "schema"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "config"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(ports.amqp),
        "RABBITMQ_DIST_PORT": str(ports.distribution),
        "ERL_EPMD_PORT": str(ports.epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # `exec` the virtual machine instead of keeping a shell in between: a signal then reaches the broker itself.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


def erlang_folder() -> Path:
    """Return the folder of the `erl` that runs the broker; raises StackError when Erlang is missing."""
    found = shutil.which("erl", path=f"{os.environ.get('PATH', os.defpath)}:{SEARCH_PATH}")
    if found is None:
        raise StackError("Erlang (erl), which RabbitMQ runs on, was not found; reinstall rabbitmq-server")
    return Path(found).parent


def find_epmd() -> Path:
    """Return Erlang's port mapper; it runs as a program of its own, so that it neither outlives the stack nor is shared.

    Raises StackError when there is none.
    """
    folder = erlang_folder()
    root = folder.resolve() if (folder / "epmd").exists() else (folder / "erl").resolve().parents[1]
    candidates = [folder / "epmd", *sorted(root.glob("erts-*/bin/epmd"), reverse=True)]
    found = next((path for path in candidates if os.access(path, os.X_OK)), None)
    if found is None:
        raise StackError("epmd, a part of Erlang, was not found; reinstall Erlang (Debian: erlang-base)")
    return found


def programs(paths: Paths, ports: Ports, server: Path, epmd: Path) -> list[Spec]:
    """Return the port mapper and the broker."""
    environment = server_environment(paths, ports)
    home = str(paths.rabbitmq)
    return [
        Spec(
            "epmd",
            [str(epmd), "-port", str(ports.epmd), "-address", "127.0.0.1"],
            environment,
            home,
            str(paths.run),
        ),
        Spec("rabbitmq", [str(server)], environment, home, str(paths.run)),
    ]
