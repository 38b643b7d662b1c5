"""Whether a chain of records holds: each in its place, unchanged, and tied to the one before."""

from uuid import UUID

from analytics.domain.record import GENESIS, Head, Record, digest


class Broken(Exception):
    """Where a chain breaks first. `seq` is the place, `id` the event's id of the record that stands there, if one does."""

    def __init__(self, seq: int, id: UUID | None, reason: str) -> None:  # noqa: A002 - the field's name
        found = f" (event {id})" if id is not None else ""
        super().__init__(f"record {seq}{found} {reason}")
        self.seq = seq
        self.id = id


class ChainCheck:
    """Follows a chain from a head that is known to be right, record by record, keeping nothing but the last."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.records = 0

    def follow(self, record: Record) -> None:
        """Take the next record; raises `Broken` when it is not what has to stand here."""
        expected = self.head.seq + 1
        if record.seq > expected:
            raise Broken(expected, None, f"is missing: the next one there is {record.seq}")
        if record.seq <= GENESIS.seq:
            raise Broken(record.seq, record.id, f"was added: the first one is {GENESIS.seq + 1}")
        if record.seq < expected:
            raise Broken(record.seq, record.id, "stands there a second time, or after one of a higher number")
        if record.time is None or record.recorded_at is None:
            raise Broken(record.seq, record.id, "was changed: it carries a time that Cuepost cannot have written")
        if record.hash != digest(record):
            raise Broken(record.seq, record.id, "was changed: its content does not have the hash it carries")
        if record.previous_hash != self.head.hash:
            reason = "is not tied to the record before it: that one was replaced, or this one was"
            raise Broken(record.seq, record.id, reason)
        self.head = record.head
        self.records += 1
