"""What stays of a month that is dropped: where its part of the chain ended, signed, so that the rest still has a beginning.

Signed is a JSON array in the canonical form of records: the text `cuepost-audit-checkpoint`, the format's number, the month
(`2026-11`), first_seq, last_seq, last_hash (hex), last_recorded_at and signed_at (microseconds since 1970). Ed25519.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from analytics.domain.chain import Broken
from analytics.domain.month import Month
from analytics.domain.record import FORMAT, GENESIS, Head, micros

PURPOSE = "cuepost-audit-checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The records of one month that were dropped: `first_seq` to `last_seq`, and the hash of the last."""

    month: Month
    first_seq: int
    last_seq: int
    last_hash: bytes
    last_recorded_at: datetime
    signed_at: datetime

    @property
    def message(self) -> bytes:
        """What is signed."""
        month = f"{self.month.year:04d}-{self.month.number:02d}"
        times = micros(self.last_recorded_at), micros(self.signed_at)
        return orjson.dumps([PURPOSE, FORMAT, month, self.first_seq, self.last_seq, self.last_hash.hex(), *times])


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with its signature; `key` is the raw public key of whoever signed."""

    checkpoint: Checkpoint
    key: bytes
    signature: bytes


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> SignedCheckpoint:
    """Return the checkpoint signed with this key."""
    return SignedCheckpoint(checkpoint, key.public_key().public_bytes_raw(), key.sign(checkpoint.message))


def proven_head(checkpoints: Iterable[SignedCheckpoint], trusted: Collection[bytes]) -> Head:
    """Return where the chain that is left begins: after the last of the checkpoints (in order), else at its genesis.

    `trusted` are raw public keys. Raises `Broken` for a checkpoint that none of them signed, and for records between two
    checkpoints of which none tells.
    """
    head = GENESIS
    for signed in checkpoints:
        checkpoint = signed.checkpoint
        if checkpoint.first_seq != head.seq + 1:
            raise Broken(head.seq + 1, None, "is missing: no checkpoint tells of it, the next one begins after it")
        if not _is_signed(signed, trusted):
            reason = f"the checkpoint that ends with it ({checkpoint.month.partition}) is not signed by a key that is trusted"
            raise Broken(checkpoint.last_seq, None, reason)
        head = Head(checkpoint.last_seq, checkpoint.last_hash)
    return head


def _is_signed(signed: SignedCheckpoint, trusted: Collection[bytes]) -> bool:
    if signed.key not in trusted:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(signed.key).verify(signed.signature, signed.checkpoint.message)
    except InvalidSignature:
        return False
    return True
