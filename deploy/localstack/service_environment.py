"""The environment of each service: addresses, passwords and keys of this stack, then what the operator set."""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any

from localstack.blueprint import PER_PROCESS, Blueprint, is_platform_name
from localstack.code_digest import code_of
from localstack.launch import Spec
from localstack.paths import SEARCH_PATH, Paths
from localstack.ports import SERVICES
from localstack.postgres import database_url
from localstack.rabbitmq import broker_url
from localstack.setting_names import declared
from localstack.vault import DATABASE_SERVICES

MODULES = {"simulator": "tiktok_simulator"}


def platform_environment() -> dict[str, str]:
    """Return what any Python process here needs: the same from whichever shell, lest a command restart programs."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{SEARCH_PATH}",
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        # Two malloc arenas instead of eight per core: the difference is tens of megabytes per process.
        "MALLOC_ARENA_MAX": "2",
        # Larger pieces go back to the system when freed: by itself the C library soon keeps what a password's hash took (19 MiB).
        "MALLOC_MMAP_THRESHOLD_": "4194304",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def program_environment(
    blueprint: Blueprint, paths: Paths, secrets: dict[str, Any], program: str, replica: int = 1
) -> dict[str, str]:
    """Return the whole environment of a service's replica, or of the simulator."""
    made = _stack_settings(blueprint, paths, secrets)
    made.update(_process_settings(blueprint, paths, secrets, program, replica))
    names = declared(program)
    own = blueprint.service_environment.get(program, {})
    passed = {
        name: value
        for name, value in blueprint.environment.items()
        if value and (name.removesuffix("_FILE") in names - PER_PROCESS or is_platform_name(name))
    }
    given = {name.removesuffix("_FILE") for name in (*passed, *own)}
    return {
        **platform_environment(),
        **{name: value for name, value in made.items() if name in names and name.removesuffix("_FILE") not in given},
        **passed,
        **own,
    }


def _stack_settings(blueprint: Blueprint, paths: Paths, secrets: dict[str, Any]) -> dict[str, str]:
    ports = blueprint.ports
    simulator = f"http://127.0.0.1:{ports.simulator}"
    gateway = public_url(blueprint)
    urls = {f"{s.upper()}_URL": f"http://127.0.0.1:{ports.together(s)}" for s in SERVICES if s != "gateway"}
    # Published videos, as the simulator's page shows them, are something to try addresses with.
    trial = {"SOURCE_URL_ALLOWED_HOSTS": json.dumps([f"127.0.0.1:{ports.simulator}"])} if blueprint.simulated else {}
    return {
        **urls,
        **trial,
        "PUBLIC_URL": gateway,
        # A file, so that a rotation needs no restart.
        "ENCRYPTION_KEY_FILE": str(paths.encryption_key),
        "AUDIT_SIGNING_KEY": secrets["audit_signing_key"],
        "OPERATION_KEY": secrets["operation_key"],
        "SERVICE_PUBLIC_KEYS": json.dumps({s: secrets["service_keys"][s]["public"] for s in SERVICES}),
        "STORAGE_URL": f"file://{paths.storage}",
        "TIKTOK_CLIENT_KEY": secrets["tiktok_client_key"],
        "TIKTOK_CLIENT_SECRET": secrets["tiktok_client_secret"],
        "TIKTOK_REDIRECT_URI": f"{gateway}/api/v1/tiktok/callback",
        "TIKTOK_API_URL": simulator,
        "TIKTOK_AUTHORIZE_URL": f"{simulator}/v2/auth/authorize/",
    }


def _process_settings(
    blueprint: Blueprint, paths: Paths, secrets: dict[str, Any], program: str, replica: int
) -> dict[str, str]:
    ports = blueprint.ports
    if program == "simulator":
        return _simulator_settings(blueprint, paths, secrets)
    settings = {
        "SERVICE_INSTANCE": f"{program}-{replica}",
        "HTTP_HOST": ports.host if program == "gateway" else "127.0.0.1",
        "HTTP_PORT": str(ports.http(program, replica)),
        "HTTP_SHARED_PORT": str(ports.together(program)),
        "METRICS_PORT": str(ports.metrics_port(program, replica)),
        "AMQP_URL": broker_url(secrets, ports, program),
        "SERVICE_PRIVATE_KEY": secrets["service_keys"][program]["private"],
    }
    if program in DATABASE_SERVICES:
        settings["DATABASE_URL"] = database_url(secrets, ports, program)
    return settings


def _simulator_settings(blueprint: Blueprint, paths: Paths, secrets: dict[str, Any]) -> dict[str, str]:
    """Return the simulator's side of what accounts and gateway are told: same client, same addresses."""
    given = blueprint.environment
    redirect = given.get("TIKTOK_REDIRECT_URI") or f"{public_url(blueprint)}/api/v1/tiktok/callback"
    return {
        "SIMULATOR_HOST": "127.0.0.1",
        "SIMULATOR_PORT": str(blueprint.ports.simulator),
        "SIMULATOR_PUBLIC_URL": f"http://127.0.0.1:{blueprint.ports.simulator}",
        "SIMULATOR_CLIENT_KEY": given.get("TIKTOK_CLIENT_KEY") or secrets["tiktok_client_key"],
        "SIMULATOR_CLIENT_SECRET": given.get("TIKTOK_CLIENT_SECRET") or secrets["tiktok_client_secret"],
        "SIMULATOR_REDIRECT_URIS": redirect,
        "SIMULATOR_WEBHOOK_URL": f"{public_url(blueprint)}/api/v1/webhooks/tiktok",
        "SIMULATOR_STATE_FILE": str(paths.simulator / "state.sqlite"),
    }


def public_url(blueprint: Blueprint) -> str:
    """Return the gateway's address as a client on this machine uses it."""
    return f"http://{blueprint.ports.gateway_host}:{blueprint.ports.gateway}"


def program_specs(blueprint: Blueprint, paths: Paths, secrets: dict[str, Any]) -> list[Spec]:
    """Return the simulator (where used) and every replica of every service; `CUEPOST_CODE` tells the code they run."""
    wanted = [("simulator", "simulator", 1)] if blueprint.simulated else []
    if not blueprint.servers_only:
        wanted += [(n, s, i) for s in SERVICES for i, n in enumerate(blueprint.processes(s), start=1)]
    codes = {program: code_of(program) for program in {program for _, program, _ in wanted}}
    return [
        Spec(
            name,
            # -P: the working folder stays off the module path.
            [sys.executable, "-P", "-m", (MODULES | blueprint.modules).get(program, program)],
            {**program_environment(blueprint, paths, secrets, program, replica), "CUEPOST_CODE": codes[program]},
            str(paths.root),
            str(paths.run),
        )
        for name, program, replica in wanted
    ]
