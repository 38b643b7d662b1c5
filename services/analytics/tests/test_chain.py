"""The chain of hashes: what is hashed is written down, and every change to it shows at its place."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.domain.chain import Broken, ChainCheck
from analytics.domain.checkpoint import Checkpoint, SignedCheckpoint, proven_head, sign
from analytics.domain.event import Event
from analytics.domain.month import Month
from analytics.domain.record import GENESIS, Head, Record, canonical, digest, link
from common.ids import uuid7

NOW = datetime(2026, 11, 21, 7, 0, 0, 250, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
TRUSTED = {KEY.public_key().public_bytes_raw()}

Change = Callable[[list[Record]], None]


def events(number: int) -> list[Event]:
    return [Event(uuid7(), "scheduler.post.due.v1", "/services/scheduler", "p", NOW, data={"n": n}) for n in range(number)]


def test_the_canonical_form_is_as_documented_and_any_json_writer_makes_it() -> None:
    event = Event(
        id=UUID("0193a000-0000-7000-8000-00000000000A"),
        key="scheduler.post.updated.v1",
        source="/services/scheduler",
        subject="p",
        time=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        user_id=UUID("0193a000-0000-7000-8000-00000000000B"),
        actor="user:7",
        user_agent='quo"te \u00e9\u2028\x07\x7f/',
        sequence=9_999_999_999,
        data={"changes": {"caption": {"old": "a", "new": 1.5}}, "z": [True, None]},
    )
    record = link(Head(41, b"\xab" * 32), NOW, [event])[0]
    written = (
        '[1,42,1795244400000250,"' + "ab" * 32 + '",'
        '"0193a000-0000-7000-8000-00000000000a","scheduler.post.updated.v1","/services/scheduler","p",-1,'
        '"0193a000-0000-7000-8000-00000000000b","user:7",null,"quo\\"te \u00e9\u2028\\u0007\x7f/",null,null,9999999999,'
        '"post.updated","post","p","success",null,"{\\"caption\\":{\\"old\\":\\"a\\",\\"new\\":1.5}}",'
        '"{\\"changes\\":{\\"caption\\":{\\"old\\":\\"a\\",\\"new\\":1.5}},\\"z\\":[true,null]}",false]'
    )
    assert canonical(record).decode() == written
    assert json.dumps(json.loads(written), separators=(",", ":"), ensure_ascii=False) == written
    assert record.hash == digest(record) == sha256(written.encode()).digest()
    assert record.previous_hash == b"\xab" * 32


def follow(chain: list[Record]) -> ChainCheck:
    check = ChainCheck(GENESIS)
    for record in chain:
        check.follow(record)
    return check


def test_a_chain_begins_at_zero_and_goes_on_where_it_ended() -> None:
    first = link(GENESIS, NOW, events(3))
    second = link(first[-1].head, NOW, events(2))
    check = follow(first + second)
    assert (check.records, check.head) == (5, second[-1].head)
    assert [record.seq for record in first + second] == [1, 2, 3, 4, 5]
    assert first[0].previous_hash == bytes(32)


def changed(number: int, **values: object) -> Change:
    def change(chain: list[Record]) -> None:
        chain[number] = chain[number]._replace(**values)

    return change


def resealed(number: int, **values: object) -> Change:
    def change(chain: list[Record]) -> None:
        new = chain[number]._replace(**values)
        chain[number] = new._replace(hash=digest(new))

    return change


def removed(number: int) -> Change:
    return lambda chain: chain.__delitem__(number)


def doubled(number: int) -> Change:
    return lambda chain: chain.insert(number, chain[number])


def swapped(chain: list[Record]) -> None:
    chain[3], chain[4] = chain[4]._replace(seq=4), chain[3]._replace(seq=5)


@pytest.mark.parametrize(
    ("change", "at", "said"),
    [
        *((changed(4, **{name: "x"}), 5, "was changed") for name in Record._fields[5:8] + Record._fields[10:15]),
        (changed(4, time=NOW + timedelta(microseconds=1)), 5, "was changed"),
        (changed(4, recorded_at=NOW + timedelta(microseconds=1)), 5, "was changed"),
        (changed(4, user_id=uuid7()), 5, "was changed"),
        (changed(4, sequence=1), 5, "was changed"),
        (changed(4, data='{"n": 4}'), 5, "was changed"),
        (changed(4, changes="{}"), 5, "was changed"),
        (changed(4, again=True), 5, "was changed"),
        (changed(4, hash=bytes(32)), 5, "was changed"),
        (changed(9, reason="x"), 10, "was changed"),
        (resealed(4, actor="somebody"), 6, "is not tied to the record before it"),
        (resealed(0, previous_hash=b"x" * 32), 1, "is not tied to the record before it"),
        (removed(0), 1, "is missing: the next one there is 2"),
        (removed(4), 5, "is missing: the next one there is 6"),
        (doubled(4), 5, "stands there a second time"),
        (swapped, 4, "was changed"),
    ],
)
def test_every_change_shows_at_its_place(change: Change, at: int, said: str) -> None:
    chain = link(GENESIS, NOW, events(10))
    change(chain)
    with pytest.raises(Broken, match=said) as broken:
        follow(chain)
    assert broken.value.seq == at
    assert str(broken.value).startswith(f"record {at} ")


def checkpoint(month: int, first: int, last: int, key: Ed25519PrivateKey = KEY) -> SignedCheckpoint:
    return sign(Checkpoint(Month(2026, month), first, last, bytes([month]) * 32, NOW, NOW), key)


def test_signed_checkpoints_prove_where_the_rest_begins() -> None:
    assert proven_head([], TRUSTED) == GENESIS
    assert proven_head([checkpoint(1, 1, 10), checkpoint(2, 11, 11)], TRUSTED) == Head(11, b"\x02" * 32)


def test_a_checkpoint_that_is_forged_moved_or_missing_shows() -> None:
    good = checkpoint(1, 1, 10)
    other = Ed25519PrivateKey.generate()
    forged = SignedCheckpoint(Checkpoint(Month(2026, 1), 1, 12, bytes(32), NOW, NOW), good.key, good.signature)
    for wrong, at in [(checkpoint(1, 1, 10, other), 10), (forged, 12)]:
        with pytest.raises(Broken, match="not signed by a key that is trusted") as broken:
            proven_head([wrong], TRUSTED)
        assert broken.value.seq == at
    with pytest.raises(Broken, match="no checkpoint tells of it") as broken:
        proven_head([good, checkpoint(3, 21, 30)], TRUSTED)
    assert broken.value.seq == 11
    assert proven_head([checkpoint(1, 1, 10, other)], TRUSTED | {other.public_key().public_bytes_raw()}).seq == 10
