"""A record of the audit trail: an event with its audit side, and its place in a chain of hashes.

A record's hash is the SHA-256 of its canonical form, in which the hash of the record before stands; so whoever changes, adds or
removes a record changes every hash after it. The canonical form is a JSON array (RFC 8785: UTF-8, no spaces, shortest escapes)
of the format's number and then, in this order:

seq, recorded_at, previous_hash, id, key, source, subject, time, user_id, actor, client_ip, user_agent, correlation_id,
causation_id, sequence, action, object_type, object_id, result, reason, changes, data, again

Times are integers, microseconds since 1970-01-01T00:00:00Z; hashes are lower-case hex; ids are lower-case UUIDs; `changes` and
`data` are the stored JSON text, character by character, as one string. What is absent is null. There is no other number than
integers, so any language writes the same bytes.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import orjson

from analytics.domain.audit import describe
from analytics.domain.event import Event
from analytics.domain.storable import storable_json, storable_text

FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Head(NamedTuple):
    """The last record of a chain: what the next one is tied to. `GENESIS` stands before the first."""

    seq: int
    hash: bytes


GENESIS = Head(0, bytes(32))


class Record(NamedTuple):
    """One row of the trail; `changes` and `data` are JSON text. Its fields are the table's columns, in their order.

    A time is None where the row holds one that no program can read (`infinity`, the year 20000): nobody but a hand writes that.
    """

    seq: int
    recorded_at: datetime | None
    previous_hash: bytes
    hash: bytes
    id: UUID
    key: str
    source: str
    subject: str
    time: datetime | None
    user_id: UUID | None
    actor: str | None
    client_ip: str | None
    user_agent: str | None
    correlation_id: str | None
    causation_id: str | None
    sequence: int | None
    action: str
    object_type: str
    object_id: str | None
    result: str
    reason: str | None
    changes: str | None
    data: str
    again: bool

    @property
    def head(self) -> Head:
        """What the record after this one is tied to."""
        return Head(self.seq, self.hash)


def link(head: Head, recorded_at: datetime, events: Iterable[Event]) -> list[Record]:
    """Return the events as records, in their order, each tied to the one before, the first to `head`."""
    records: list[Record] = []
    for event in events:
        record = _sealed(_unsealed(head, recorded_at, event))
        head = record.head
        records.append(record)
    return records


def canonical(record: Record) -> bytes:
    """Return the bytes that are hashed."""
    return orjson.dumps(
        [
            FORMAT,
            record.seq,
            _micros_or_null(record.recorded_at),
            record.previous_hash.hex(),
            str(record.id),
            record.key,
            record.source,
            record.subject,
            _micros_or_null(record.time),
            None if record.user_id is None else str(record.user_id),
            *record[10:],
        ]
    )


def digest(record: Record) -> bytes:
    """Return the hash that belongs to a record's content, whatever hash it carries."""
    return sha256(canonical(record)).digest()


def micros(moment: datetime) -> int:
    """Return an aware time as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def _micros_or_null(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def _sealed(record: Record) -> Record:
    return record._replace(hash=digest(record))


def _unsealed(head: Head, recorded_at: datetime, event: Event) -> Record:
    entry = describe(event)
    return Record(
        seq=head.seq + 1,
        recorded_at=recorded_at,
        previous_hash=head.hash,
        hash=b"",
        id=event.id,
        key=event.key,
        source=storable_text(event.source),
        subject=storable_text(event.subject),
        time=event.time,
        user_id=event.user_id,
        actor=_text(event.actor),
        client_ip=_text(event.client_ip),
        user_agent=_text(event.user_agent),
        correlation_id=_text(event.correlation_id),
        causation_id=_text(event.causation_id),
        sequence=event.sequence,
        action=storable_text(entry.action),
        object_type=storable_text(entry.object_type),
        object_id=_text(entry.object_id),
        result=entry.result,
        reason=_text(entry.reason),
        changes=None if entry.changes is None else storable_json(entry.changes),
        data=storable_json(event.data),
        again=event.again,
    )


def _text(text: str | None) -> str | None:
    return None if text is None else storable_text(text)
