"""Migrations: a step of their own before a service starts, never run by its replicas.

`python -m common.database.migrate <service>` reads DATABASE_URL and brings `<service>.migrations` to its newest version.
"""

import asyncio
import sys
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from pydantic import Field, SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from common.database.database import CONNECT_TIMEOUT_S, async_url
from common.settings import EnvironmentSettings, load

LOCK_KEY = 0x63756570


class MigrationSettings(EnvironmentSettings):
    """Where to migrate: DATABASE_URL, or DATABASE_URL_FILE."""

    database_url: SecretStr = Field(description="postgresql://user:password@host:port/database")


def config_for(service: str) -> Config:
    """Return the Alembic configuration of a service: the shared environment with that service's versions."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic_environment"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(files(f"{service}.migrations") / "versions"))
    return config


async def upgrade(service: str, url: SecretStr | str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`; two runs at once wait for each other (advisory lock)."""
    engine = create_async_engine(async_url(url), poolclass=NullPool, connect_args={"timeout": CONNECT_TIMEOUT_S})
    config = config_for(service)

    def run(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def main() -> None:
    """Run from the command line with the service's name."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m common.database.migrate SERVICE")
    asyncio.run(upgrade(sys.argv[1], load(MigrationSettings).database_url))


if __name__ == "__main__":
    main()
