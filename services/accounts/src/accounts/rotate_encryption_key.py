"""`python -m accounts.rotate_encryption_key`: seals everything again with the first key of ENCRYPTION_KEY, while services run.

Run it where every replica seals with that key already. It may be ended at any moment and run again. The exit code is 0 only when
nothing in the database needs another key any more, so that the older ones can be removed; `--check` only looks. `--wait` changes
nothing either: it ends with 0 as soon as every replica that runs holds exactly the keys that this command was given.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta

from accounts.held_keys_wait import replicas_hold
from accounts.operator_event import OperatorEvents, operator_events
from accounts.security.vault import Vault
from accounts.settings import Settings
from accounts.storage.sealed_values import SealedRow, SealedTable, read_sealed, sealed_tables
from accounts.usecases.reseal import Resealed, reseal
from common.database import Database
from common.settings import load

BATCH = 200
MAX_PASSES = 5
"""If each of so many passes found something sealed by an older key, a replica still seals with one."""

PAUSE = timedelta(milliseconds=1)
"""Between batches, so that requests find their turn."""


class Resealer:
    """Goes through every sealed value in batches, each one transaction; another run goes on where this one ended."""

    def __init__(self, database: Database, vault: Vault, *, batch: int = BATCH) -> None:
        self._database = database
        self._vault = vault
        self._batch = batch

    async def run(self) -> dict[str, Resealed]:
        """Seal everything again and return the counts of each table; `left` is 0 where no older key is needed any more.

        Ends with a pass that found nothing to do: a replica that still sealed with an older key would show in it.
        """
        totals = {table.name: Resealed() for table in sealed_tables()}
        for _ in range(MAX_PASSES):
            found = [await self._pass(table, totals[table.name]) for table in sealed_tables()]
            if not any(found):
                break
        return totals

    async def _pass(self, table: SealedTable, total: Resealed) -> bool:
        """Go through a table once; returns whether something needed an older key."""
        now = await self._table(table)
        total.fresh = max(now.fresh - total.resealed, 0)
        total.resealed += now.resealed
        total.changed, total.unreadable = now.changed, now.unreadable
        total.settled = not now.resealed and not now.changed
        return not total.settled

    async def check(self) -> dict[str, Resealed]:
        """Return the same counts without changing anything: what would be sealed again counts as `changed`."""
        counts = {}
        for table in sealed_tables():
            total, after = Resealed(settled=True), None
            while rows := await self._read(table, after):
                for row in rows:
                    is_fresh = all(self._vault.is_sealed_by_first(value) for value in row.values)
                    total.add(Resealed(fresh=1) if is_fresh else Resealed(changed=1))
                after = rows[-1].key
            counts[table.name] = total
        return counts

    async def _table(self, table: SealedTable) -> Resealed:
        total, after = Resealed(), None
        while rows := await self._read(table, after):
            async with self._database.transaction() as tx:
                total.add(await reseal(tx, self._vault, table, rows))
            after = rows[-1].key
            await asyncio.sleep(PAUSE.total_seconds())
        return total

    async def _read(self, table: SealedTable, after: object) -> list[SealedRow]:
        async with self._database.read() as connection:
            return await read_sealed(connection, table, after=after, limit=self._batch)


async def rotate(resealer: Resealer, events: OperatorEvents) -> dict[str, Resealed]:
    """Seal everything again and tell the audit trail how many rows it was."""
    counts = await resealer.run()
    details = {name: {"resealed": table.resealed, "left": table.left} for name, table in counts.items()}
    await events.tell("encryption_key_rotated", "encryption_key", details)
    return counts


def lines_of(counts: dict[str, Resealed]) -> list[str]:
    """Return what the operator reads: numbers of rows, never a key."""
    lines = [
        f"{name:<16} {table.resealed} sealed again, {table.fresh} by the first key before,"
        f" {table.changed} not yet, {table.unreadable} unreadable"
        for name, table in counts.items()
    ]
    if any(table.unreadable for table in counts.values()):
        return [*lines, "Unreadable rows were sealed by a key that ENCRYPTION_KEY does not hold: add it again, and keep it."]
    if any(table.left for table in counts.values()):
        return [*lines, "Older keys are still needed: see that every replica has the new key first, then run this again."]
    return [*lines, "Nothing needs an older key any more: they can be removed."]


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with a usage message on anything else."""
    parser = argparse.ArgumentParser(prog="rotate-encryption-key", description="Seal everything with the first key.")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="change nothing, tell what needs an older key")
    only.add_argument(
        "--wait", type=float, metavar="SECONDS", help="change nothing, wait until every replica holds exactly these keys"
    )
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help="with --wait: at least so many (1)")
    return parser.parse_args(arguments)


async def _main(options: argparse.Namespace) -> int:
    settings = load(Settings)
    database = Database(settings.database_url, application_name="accounts-operator", pool_size=1)
    vault = Vault(settings.encryption_keys)
    resealer = Resealer(database, vault)
    try:
        if options.wait is not None:
            held = await replicas_hold(database, vault.fingerprints, replicas=options.replicas, seconds=options.wait)
            sys.stdout.write("\n".join(held.lines) + "\n")
            return 0 if held.by_all else 1
        if options.check:
            counts = await resealer.check()
        else:
            async with operator_events(settings.amqp_url) as events:
                counts = await rotate(resealer, events)
    finally:
        await database.stop()
    sys.stdout.write("\n".join(lines_of(counts)) + "\n")
    return 1 if any(table.left for table in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(parse_arguments(sys.argv[1:]))))
