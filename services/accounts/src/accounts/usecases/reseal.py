"""Sealing again, with the first encryption key, what an older one has sealed."""

from dataclasses import dataclass

from accounts.security.vault import SealBroken, Vault
from accounts.storage.sealed_values import SealedRow, SealedTable, replace_sealed
from common.database import Transaction


@dataclass(slots=True)
class Resealed:
    """Rows looked at: sealed again, sealed by the first key already, changed meanwhile, and not to be opened by any key.

    `settled` once a look at all of them found nothing to seal again.
    """

    resealed: int = 0
    fresh: int = 0
    changed: int = 0
    unreadable: int = 0
    settled: bool = False

    @property
    def left(self) -> int:
        """How many rows may still need an older key, at least."""
        return self.changed + self.unreadable + (0 if self.settled else 1)

    def add(self, other: "Resealed") -> None:
        """Count another batch in."""
        self.resealed += other.resealed
        self.fresh += other.fresh
        self.changed += other.changed
        self.unreadable += other.unreadable


async def reseal(tx: Transaction, vault: Vault, table: SealedTable, rows: list[SealedRow]) -> Resealed:
    """Seal the rows' secrets with the first key, each only if it is still what was read: a newer pair is never overwritten."""
    counts = Resealed()
    for row in rows:
        if all(vault.is_sealed_by_first(value) for value in row.values):
            counts.fresh += 1
            continue
        try:
            values = [vault.reseal(value) for value in row.values]
        except SealBroken:
            counts.unreadable += 1
            continue
        if await replace_sealed(tx.connection, table, row, values):
            counts.resealed += 1
        else:
            counts.changed += 1
    return counts
