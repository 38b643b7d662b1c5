"""`python -m analytics.export_trail [SEQ]`: the audit trail as JSON Lines, all of it or what stands behind SEQ.

In the environment of the analytics service. A line is a record with everything that its hash is made of. That an operator reads it
is a record itself (`system.audit_exported`), which is there before the first line is printed and is one of the last ones.
"""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Callable

import orjson

from analytics.domain.record import Record
from analytics.settings import Settings
from analytics.storage.chain import all_records, kept_whole
from analytics.usecases.record_operator import record_operator
from common.database import Database
from common.settings import load

ACTION = "audit_exported"
SUBJECT = "audit.records"


def line_of(record: Record) -> bytes:
    """Return a record as a line; hashes are hex, `changes` and `data` the stored text."""
    hashes = {"previous_hash": record.previous_hash.hex(), "hash": record.hash.hex()}
    return orjson.dumps({**record._asdict(), **hashes}, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE, default=str)


async def run(settings: Settings, after: int | None, write: Callable[[bytes], object]) -> None:
    """Record who asks, then write every record, or those behind the `after`-th, in constant memory; no month is dropped meanwhile.

    Nothing is written when it cannot be recorded.
    """
    database = Database(settings.database_url, application_name="analytics-export", pool_size=1)
    try:
        async with database.transaction() as tx:
            await record_operator(tx, ACTION, SUBJECT, {} if after is None else {"after": after}, operator=getpass.getuser())
        async with database.read() as connection, kept_whole(connection):
            async for record in all_records(connection, after=after):
                write(line_of(record))
    finally:
        await database.stop()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="audit-export", description="Print the audit trail as JSON Lines.")
    parser.add_argument("after", nargs="?", type=int, metavar="SEQ", help="only the records behind this one")
    after: int | None = parser.parse_args().after
    try:
        asyncio.run(run(load(Settings), after, sys.stdout.buffer.write))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough.
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
