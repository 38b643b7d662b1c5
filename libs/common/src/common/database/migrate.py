"""Migrations: a step of their own before a service starts, never run by its replicas.

`python -m common.database.migrate <service>` reads DATABASE_URL and brings `<service>.migrations` to its newest version.

Who migrates owns the tables. Where the service itself must not be able to do all an owner may (analytics), it runs as another
role: migrations find its name with `service_role()` and grant it what it needs. The role is named like the service, unless
DATABASE_SERVICE_ROLE says otherwise.
"""

import asyncio
import sys
from importlib.resources import files
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from asyncpg.exceptions import LockNotAvailableError
from pydantic import Field, SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from common.database.database import CONNECT_TIMEOUT_S, async_url
from common.settings import EnvironmentSettings, load

LOCK_KEY = 0x63756570
LOCK_PATIENCE_S = 10.0
"""A table that a migration waits for is closed to everybody who comes after it, so it does not wait for long."""


class MigrationBlocked(Exception):
    """A table was in use for too long; nothing was changed. Migrating again, once its user has ended, is right."""


class MigrationSettings(EnvironmentSettings):
    """Where to migrate: DATABASE_URL, or DATABASE_URL_FILE."""

    database_url: SecretStr = Field(description="postgresql://user:password@host:port/database")
    database_service_role: str = Field(default="", description="the role the service runs as; default: the service's name")


def config_for(service: str) -> Config:
    """Return the Alembic configuration of a service: the shared environment with that service's versions."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic_environment"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(files(f"{service}.migrations") / "versions"))
    return config


async def upgrade(
    service: str,
    url: SecretStr | str,
    revision: str = "head",
    *,
    role: str = "",
    lock_patience: float = LOCK_PATIENCE_S,
) -> None:
    """Bring the database at `url` to `revision`, in one transaction; two runs at once wait for each other (advisory lock).

    `role` is the one the service runs as, where that is not named like the service. Raises MigrationBlocked when somebody else uses
    a table for more than `lock_patience` seconds; then nothing was changed.
    """
    engine = create_async_engine(async_url(url), poolclass=NullPool, connect_args={"timeout": CONNECT_TIMEOUT_S})
    config = config_for(service)

    def run(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        # Only now: for the other run one waits as long as it takes.
        milliseconds = f"{lock_patience * 1000:.0f}"
        connection.execute(text("SELECT set_config('lock_timeout', :patience, true)"), {"patience": milliseconds})
        config.attributes["connection"] = connection
        config.attributes["service_role"] = role or service
        command.upgrade(config, revision)

    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    except DBAPIError as error:
        if error.orig is None or not isinstance(error.orig.__cause__, LockNotAvailableError):
            raise
        raise MigrationBlocked(
            f"{service} was not migrated, nothing was changed: somebody else used a table for more than {lock_patience:g} s;"
            " see pg_stat_activity for long transactions, end them, and migrate again"
        ) from error
    finally:
        await engine.dispose()


def service_role() -> str:
    """Return the role the service runs as, for a migration that grants it rights.

    Raises RuntimeError when that is the role that migrates, or does not exist: rights would then mean nothing.
    """
    role: str = context.config.attributes["service_role"]
    connection = context.get_bind()
    if connection.scalar(text("SELECT current_user")) == role:
        raise RuntimeError(f"{role} must not own its own tables: migrate as another role, see docs/operations.md")
    if not connection.scalar(text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"), {"role": role}):
        raise RuntimeError(f"there is no role {role}, as which the service would run: make it first, see docs/operations.md")
    return role


def main() -> None:
    """Run from the command line with the service's name."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m common.database.migrate SERVICE")
    settings = load(MigrationSettings)
    try:
        asyncio.run(upgrade(sys.argv[1], settings.database_url, role=settings.database_service_role))
    except MigrationBlocked as blocked:
        sys.exit(str(blocked))


if __name__ == "__main__":
    main()
