"""The PostgreSQL of a stack: cluster, one database and role per service, and the program that serves them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from localstack.errors import StackError
from localstack.launch import Spec
from localstack.paths import Paths
from localstack.ports import Ports
from localstack.postgres_place import Place
from localstack.vault import DATABASE_OWNERS, DATABASE_SERVICES

SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No socket file: nothing but password-checked TCP leads in.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_buffers": "4MB",
    "max_wal_size": "512MB",
    "idle_in_transaction_session_timeout": "60s",
    "password_encryption": "scram-sha-256",
    "jit": "off",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
UNDURABLE_SETTINGS = {
    # The rest stays: what is confirmed has reached the operating system, so a killed server loses nothing.
    "fsync": "off",
    # Data may be in memory, where a log of half a gigabyte is no use.
    "max_wal_size": "128MB",
    # Passwords here are random and live as long as the run: guessing is not what costs a connection most of its time.
    "scram_iterations": "1",
}
"""For tests only: what is committed outlives the server, not the machine."""
STAMP = "cuepost-provisioned"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def database_url(secrets: dict[str, Any], ports: Ports, name: str) -> str:
    """Return the address of a service's database for its role; `postgres` is the superuser."""
    return f"postgresql://{name}:{secrets['postgres'][name]}@127.0.0.1:{ports.postgres}/{name}"


def owner_url(secrets: dict[str, Any], ports: Ports, service: str) -> str:
    """Return the address of a service's database for whoever migrates it."""
    owner = DATABASE_OWNERS.get(service, service)
    return f"postgresql://{owner}:{secrets['postgres'][owner]}@127.0.0.1:{ports.postgres}/{service}"


def prepare(place: Place, secrets: dict[str, Any]) -> None:
    """Make the cluster, the roles and the databases, or bring them to the current passwords; the server must be down.

    Raises StackError with PostgreSQL's own words when that fails.
    """
    if not (place.data / "PG_VERSION").exists():
        _initialise(place)
    stamp = place.data / STAMP
    _single_user(place, "postgres", provisioning(secrets["postgres"], _existing(stamp)))
    for service in DATABASE_OWNERS:
        _single_user(place, service, handing_over(service))
    content = {"digest": _digest(secrets), "databases": list(DATABASE_SERVICES)}
    _write_as_owner(place, stamp, json.dumps(content))


def needs_preparation(place: Place, secrets: dict[str, Any]) -> bool:
    """Whether cluster, roles or passwords are not yet as the secrets want them."""
    return _read_stamp(place.data / STAMP).get("digest") != _digest(secrets)


def _digest(secrets: dict[str, Any]) -> str:
    return hashlib.sha256("\n".join(provisioning(secrets["postgres"], set())).encode()).hexdigest()


def _initialise(place: Place) -> None:
    if place.data.exists() and any(place.data.iterdir()):
        _run(place, ["/bin/sh", "-c", 'rm -rf -- "$1"/*', "sh", str(place.data)], "clear a half-made cluster")
    command = [str(place.binaries / "initdb"), "--pgdata", str(place.data), "--username=postgres"]
    command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--auth-host=scram-sha-256", "--auth-local=reject", "--no-instructions"]
    _run(place, command, "initdb")


def provisioning(passwords: dict[str, str], existing: set[str]) -> list[str]:
    """Return the SQL that gives each service a role and a database that no other service's role can connect to.

    `existing` names the databases made before; their roles only get the current password.
    """
    statements = [f"ALTER ROLE postgres PASSWORD '{passwords['postgres']}'"]
    statements += [f"REVOKE ALL ON DATABASE {name} FROM PUBLIC" for name in ("postgres", "template1")]
    for name in DATABASE_SERVICES:
        if name not in existing:
            statements += [
                f"DROP DATABASE IF EXISTS {name}",
                f"DROP ROLE IF EXISTS {name}",
                f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE",
                f"CREATE DATABASE {name} OWNER {name}",
            ]
        statements += [
            f"ALTER ROLE {name} PASSWORD '{passwords[name]}'",
            f"ALTER ROLE {name} SET idle_in_transaction_session_timeout = '30s'",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        ]
        if name in DATABASE_OWNERS:
            statements += _owner(name, passwords[DATABASE_OWNERS[name]])
    return statements


def _owner(name: str, password: str) -> list[str]:
    """Return the SQL that makes a database's owner and gives it that database; the service's own role may only connect."""
    owner = DATABASE_OWNERS[name]
    made = f"CREATE ROLE {owner} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE"
    # Asked first: run without a server, PostgreSQL ends at any error, also at one that is caught.
    return [
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') THEN {made}; END IF; END $$",
        f"ALTER ROLE {owner} PASSWORD '{password}'",
        f"ALTER DATABASE {name} OWNER TO {owner}",
        f"GRANT CONNECT ON DATABASE {name} TO {name}",
    ]


def handing_over(service: str) -> list[str]:
    """Return the SQL, run in the service's database, that gives its owner what the service's role made in earlier versions."""
    return [f"REASSIGN OWNED BY {service} TO {DATABASE_OWNERS[service]}"]


def _single_user(place: Place, database: str, statements: list[str]) -> None:
    """Run statements in a database without a server: no port is open and no password needed yet."""
    command = [str(place.binaries / "postgres"), "--single", "-j", "-D", str(place.data)]
    command += ["-c", "exit_on_error=true", "-c", "unix_socket_directories=", database]
    _run(place, command, "make roles and databases", "".join(f"{statement};\n\n" for statement in statements))


def _run(place: Place, command: list[str], what: str, text: str = "") -> None:
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd="/",
        user=place.uid,
        group=place.gid,
        extra_groups=None if place.uid is None else [],
        timeout=120,
        check=False,
        umask=0o077,
    )
    if done.returncode != 0:
        raise StackError(f"PostgreSQL could not {what}:\n{done.stderr.strip()[-2000:]}")


def _read_stamp(stamp: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(stamp.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content


def _existing(stamp: Path) -> set[str]:
    return set(_read_stamp(stamp).get("databases", []))


def _write_as_owner(place: Place, path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    if place.uid is not None and place.gid is not None:
        os.chown(path, place.uid, place.gid)


def program(paths: Paths, ports: Ports, place: Place, *, durable: bool = True) -> Spec:
    """Return the server in the foreground; with `durable` off, it does not wait for the disk."""
    argv = [str(place.binaries / "postgres"), "-D", str(place.data), "-p", str(ports.postgres)]
    for key, value in (SERVER_SETTINGS if durable else SERVER_SETTINGS | UNDURABLE_SETTINGS).items():
        argv += ["-c", f"{key}={value}"]
    return Spec(
        "postgres",
        argv,
        ENVIRONMENT,
        str(place.data),
        str(paths.run),
        place.uid,
        place.gid,
        str(place.data / "postmaster.pid"),
    )
