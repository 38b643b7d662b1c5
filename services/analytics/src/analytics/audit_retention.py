"""`python -m analytics.audit_retention [DAYS]`: how long the audit trail is kept, and with DAYS, for how long from now on.

DATABASE_URL is that of the database's owner, who alone may shorten it. Give the service its EVENT_RETENTION_DAYS first: a replica
that still has a longer one has months kept that long again. Ends with 1 when it could not be changed.
"""

import argparse
import asyncio
import getpass
import sys

from pydantic import SecretStr

from analytics.settings import LONGEST_RETENTION_DAYS, SHORTEST_RETENTION_DAYS, OwnerSettings
from analytics.storage.months import kept_days
from analytics.usecases.change_retention import change_retention
from common.database import Database
from common.settings import load


def days_of(written: str) -> int:
    """Return a number of days that a trail may be kept for; raises ValueError."""
    days = int(written)
    if not SHORTEST_RETENTION_DAYS <= days <= LONGEST_RETENTION_DAYS:
        raise ValueError(written)
    return days


async def run(url: SecretStr, days: int | None) -> list[str]:
    """Change it when `days` are given; returns the lines to print."""
    database = Database(url, application_name="analytics-owner", pool_size=1)
    try:
        if days is None:
            async with database.read() as connection:
                return [f"months are kept for {_text(await kept_days(connection))} after their end"]
        async with database.transaction() as tx:
            before = await change_retention(tx, days, operator=getpass.getuser())
    finally:
        await database.stop()
    return [f"months are kept for {_text(days)} after their end, before: {_text(before)}"]


def _text(days: int | None) -> str:
    return f"{SHORTEST_RETENTION_DAYS if days is None else days} days"


def _kind(error: Exception) -> str:
    """Return what the database said by its kind, such as InsufficientPrivilegeError for any role but the owner."""
    said = getattr(error, "orig", None)
    return type((said and said.__cause__) or error).__name__


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="audit-retention", description="Show or change how long the audit trail is kept.")
    parser.add_argument("days", nargs="?", type=days_of, metavar="DAYS", help="31 to 36500")
    days: int | None = parser.parse_args().days
    try:
        lines = asyncio.run(run(load(OwnerSettings).database_url, days))
    except Exception as error:  # noqa: BLE001 - told by its kind: its text may hold an address
        sys.stderr.write(f"nothing was changed: {_kind(error)}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
