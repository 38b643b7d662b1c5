"""Analytics' database belongs to a role that the service is not: in new installations, and in those made before."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from localstack import __main__ as commands
from localstack.postgres import STAMP, database_url, owner_url
from localstack.postgres_place import PACKAGE, find_place
from localstack.servers import Servers
from localstack.vault import DATABASE_SERVICES

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[1] / "docker/postgres/10-cuepost.sh"
OWNERS = "SELECT relname::text, pg_get_userbyid(relowner)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"


@pytest.fixture
def servers(own_servers: Servers) -> Servers:
    return own_servers


def superuser(servers: Servers, database: str) -> str:
    return servers.postgres_url.rpartition("/")[0] + f"/{database}"


async def go_back(servers: Servers) -> None:
    """Make the database as versions before this one made it: the service's role owns it and everything in it."""
    connection = await asyncpg.connect(superuser(servers, "analytics"))
    await connection.execute(
        "ALTER DATABASE analytics OWNER TO analytics; REASSIGN OWNED BY analytics_owner TO analytics;"
        "DROP OWNED BY analytics_owner; DROP ROLE analytics_owner"
    )
    await connection.close()
    connection = await asyncpg.connect(database_url(servers.stack.secrets, servers.stack.ports, "analytics"))
    await connection.execute("DROP TABLE IF EXISTS old; CREATE TABLE old (id bigserial PRIMARY KEY)")
    await connection.close()


async def require_apart(servers: Servers, *, taken_over: bool) -> None:
    secrets, ports = servers.stack.secrets, servers.stack.ports
    connection = await asyncpg.connect(owner_url(secrets, ports, "analytics"))
    await connection.execute("CREATE TABLE made (id int); DROP TABLE made; CREATE SCHEMA made; DROP SCHEMA made")
    assert not await connection.fetchval(
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    owners = {row[0]: row[1] for row in await connection.fetch(OWNERS)}
    assert owners == (dict.fromkeys(("old", "old_id_seq", "old_pkey"), "analytics_owner") if taken_over else {})
    await connection.close()
    connection = await asyncpg.connect(database_url(secrets, ports, "analytics"))
    for statement in (
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "SET ROLE analytics_owner",
        "DROP TABLE IF EXISTS old",
    ):
        if taken_over or "old" not in statement:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(owner_url(secrets, ports, "analytics").rpartition("/")[0] + "/accounts")


async def test_the_local_stack_keeps_them_apart_and_takes_older_databases_over(servers: Servers) -> None:
    await require_apart(servers, taken_over=False)
    await go_back(servers)
    # What an older version stored as prepared differs from what is wanted now.
    stamp = find_place(servers.stack.paths).data / STAMP
    stamp.write_text(stamp.read_text(encoding="utf-8").replace('"digest": "', '"digest": "old'), encoding="utf-8")
    servers.stack.up()
    await require_apart(servers, taken_over=True)


def test_the_owner_alone_is_asked_to_change_how_long_the_trail_is_kept(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, ran = servers.stack, list[tuple[str, str]]()
    monkeypatch.setattr(commands.Stack, "saved", lambda _: stack)
    monkeypatch.setattr(os, "execvpe", lambda _, command, own: ran.append((" ".join(command[3:]), own["DATABASE_URL"])))
    for arguments in (["audit-retention", "90"], ["audit-verify", "7:ab"]):
        monkeypatch.setattr(sys, "argv", ["localstack", *arguments])
        commands.main()
    assert ran == [
        ("analytics.audit_retention 90", owner_url(stack.secrets, stack.ports, "analytics")),
        (
            f"analytics.verify_audit --keep={stack.paths.audit_head} 7:ab",
            database_url(stack.secrets, stack.ports, "analytics"),
        ),
    ]


async def test_the_script_of_the_containers_does_the_same_and_may_run_again(servers: Servers, tmp_path: Path) -> None:
    passwords = servers.stack.secrets["postgres"]
    for role in (*DATABASE_SERVICES, "analytics_owner"):
        (tmp_path / role).write_text(passwords[role], encoding="utf-8")
    await go_back(servers)
    for _ in range(2):
        run_script(servers, tmp_path)
        await require_apart(servers, taken_over=True)


def run_script(servers: Servers, secrets_folder: Path) -> None:
    wheel = PACKAGE / "pginstall" / "bin"
    tools = wheel if (wheel / "psql").exists() else Path(shutil.which("psql") or "/usr/bin/psql").parent
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(servers.stack.ports.postgres),
        "PGPASSWORD": servers.stack.secrets["postgres"]["postgres"],
        "POSTGRES_USER": "postgres",
    }
    script = SCRIPT.read_text(encoding="utf-8").replace("/run/cuepost", str(secrets_folder))
    done = subprocess.run(["bash"], input=script, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
