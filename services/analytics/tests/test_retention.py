"""Months exist in time, old ones go as a whole and leave a signed checkpoint, and no record is lost on the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import REGISTRY
from sqlalchemy import text
from structlog.testing import capture_logs

from analytics.domain.event import Event
from analytics.domain.month import Month
from analytics.domain.record import link
from analytics.loops.retention import Retention
from analytics.storage import chain, months, records
from analytics.usecases import prove_past
from analytics.usecases.keep_months import AHEAD, keep_months
from analytics.usecases.read_timeline import read_timeline
from analytics.usecases.record_events import record_events
from analytics.usecases.verify_audit import verify_audit
from common.database import Database
from common.ids import uuid7
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)
THIS = Month.of(NOW)
YEAR = timedelta(days=400)
OLDEST = Month.of(NOW - YEAR)


@pytest.fixture
async def database(migrated_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    opened = Database(await migrated_database("analytics"), application_name="test")
    yield opened
    await opened.stop()


def told(number: int) -> list[Event]:
    return [Event(uuid7(), "a.b.c.v1", "/services/a", "s", NOW) for _ in range(number)]


async def write(database: Database, moment: datetime, number: int) -> None:
    """Append records as if it were another time."""
    async with database.transaction() as tx:
        await records.lock(tx.connection)
        await months.add(tx.connection, Month.of(moment))
        end = await records.end(tx.connection, [])
        await records.append(tx.connection, link(end.head, moment, told(number)))


async def where(database: Database) -> dict[str, int]:
    """How many records lie in which month."""
    async with database.read() as connection:
        rows = await connection.execute(text("SELECT tableoid::regclass::text, count(*) FROM audit.records GROUP BY 1"))
        return {row[0]: row[1] for row in rows}


async def existing(database: Database) -> list[Month]:
    async with database.read() as connection:
        return (await months.partitions(connection))[0]


async def keep(
    database: Database, key: Ed25519PrivateKey, now: datetime = NOW, retention: timedelta = YEAR
) -> tuple[Sequence[Month], Sequence[Month]]:
    async with database.transaction() as tx:
        kept = await keep_months(tx, key, now=now, retention=retention)
    return kept.added, kept.dropped


async def test_months_are_there_from_the_start_and_made_ahead_once(database: Database, audit_key: Ed25519PrivateKey) -> None:
    assert await existing(database) == [THIS.plus(number) for number in range(AHEAD + 1)]
    assert await keep(database, audit_key) == ((), ())
    next_month = THIS.plus(1).start
    assert await keep(database, audit_key, next_month) == ((THIS.plus(AHEAD + 1),), ())


async def test_a_record_whose_month_is_missing_makes_it(
    database: Database, as_owner: Callable[[str], str], audit_key: Ed25519PrivateKey
) -> None:
    """After a long stop the first event may come before the loop has looked."""
    owner = Database(as_owner(str(database.engine.url.render_as_string(hide_password=False))), application_name="test")
    async with owner.transaction() as tx:
        await tx.connection.execute(text(f"DROP TABLE audit.{THIS.partition}"))
    await owner.stop()
    async with database.transaction() as tx:
        assert len(await record_events(tx, told(2))) == 2
    assert await where(database) == {f"audit.{THIS.partition}": 2}


async def test_a_month_goes_when_all_of_it_is_past_the_retention(database: Database, audit_key: Ed25519PrivateKey) -> None:
    edge = OLDEST.start
    await write(database, edge - timedelta(days=70), 2)
    await write(database, edge - timedelta(microseconds=1), 3)
    await write(database, edge, 4)
    await write(database, NOW, 5)
    _, dropped = await keep(database, audit_key)
    assert list(dropped) == [Month.of(edge - timedelta(days=70)), OLDEST.plus(-1)]
    assert await where(database) == {f"audit.{OLDEST.partition}": 4, f"audit.{THIS.partition}": 5}
    trusted = {audit_key.public_key().public_bytes_raw()}
    async with database.read() as connection:
        left = [item.checkpoint for item in await chain.all_checkpoints(connection)]
        assert [(item.month, item.first_seq, item.last_seq) for item in left] == [
            (Month.of(edge - timedelta(days=70)), 1, 2),
            (OLDEST.plus(-1), 3, 5),
        ]
        proof = await verify_audit(connection, trusted=trusted)
        assert (proof.records, proof.head.seq, proof.dropped) == (9, 14, 2)
        created = (edge - timedelta(microseconds=1), edge)
        read = [await read_timeline(connection, post_id=uuid7(), user_id=uuid7(), created_at=moment) for moment in created]
    assert [one.is_truncated for one in read] == [True, False], "what happened to the older post may have been dropped"


async def test_a_month_without_records_goes_without_a_checkpoint(database: Database, audit_key: Ed25519PrivateKey) -> None:
    async with database.transaction() as tx:
        await months.add(tx.connection, OLDEST.plus(-1))
    assert await keep(database, audit_key) == ((), (OLDEST.plus(-1),))
    async with database.read() as connection:
        assert await chain.all_checkpoints(connection) == []


async def test_the_chain_goes_on_from_the_checkpoint_when_every_record_was_dropped(
    database: Database, audit_key: Ed25519PrivateKey
) -> None:
    await write(database, OLDEST.start - timedelta(days=1), 3)
    await keep(database, audit_key)
    assert await where(database) == {}
    async with database.transaction() as tx:
        await record_events(tx, told(1))
    async with database.read() as connection:
        proof = await verify_audit(connection, trusted={audit_key.public_key().public_bytes_raw()})
    assert (proof.records, proof.head.seq) == (1, 4)


async def test_who_drops_a_month_waits_for_readers_and_stops_none(database: Database, audit_key: Ed25519PrivateKey) -> None:
    """A reader locks the whole table, then its parts: whoever did it the other way round would meet it in a deadlock."""
    await write(database, OLDEST.start - timedelta(days=1), 3)
    async with database.transaction() as tx:
        await tx.connection.execute(text("LOCK TABLE ONLY audit.records IN ACCESS SHARE MODE"))
        dropping = asyncio.create_task(keep(database, audit_key))

        async def waiting() -> bool:
            async with database.read() as connection:
                mine = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                query = f"SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'relation' AND {mine}"
                return bool(await connection.scalar(text(query)))

        await eventually(waiting)
        assert await tx.connection.scalar(text("SELECT count(*) FROM audit.records")) == 3
        assert not dropping.done()
    assert await dropping == ((), (OLDEST.plus(-1),))


async def test_two_replicas_take_turns(database: Database, audit_key: Ed25519PrivateKey) -> None:
    await write(database, OLDEST.start - timedelta(days=1), 3)
    loops = [Retention(database, audit_key, retention=YEAR, now=lambda: NOW) for _ in range(4)]
    for loop in loops:
        await loop.start()

    async def dropped() -> bool:
        return await where(database) == {}

    await eventually(dropped)
    for loop in loops:
        await loop.stop()
        assert loop._failures == 0


@pytest.mark.parametrize(
    ("changed", "goes", "said"),
    [
        ("UPDATE audit.records SET actor = 'user:2' WHERE seq = 5", 1, "record 5 (event "),
        ("UPDATE audit.records SET time = 'infinity' WHERE seq = 2", 0, "record 2 (event "),
        ("DELETE FROM audit.records WHERE seq = 6", 1, "record 6 is missing"),
        ("DELETE FROM audit.records WHERE seq BETWEEN 4 AND 6", 0, "record 4 is missing"),
        ("UPDATE audit.records SET actor = 'user:2' WHERE seq = 8", 2, None),
    ],
)
async def test_a_month_that_was_changed_by_hand_is_neither_signed_nor_dropped(
    database: Database,
    as_owner: Callable[[str], str],
    audit_key: Ed25519PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    changed: str,
    goes: int,
    said: str | None,
) -> None:
    """Two months of three records are past; those before the change go, all after it stays, and the loop says so."""
    monkeypatch.setattr(prove_past, "PAGE", 2)
    for moment in (OLDEST.start - timedelta(days=45), OLDEST.start - timedelta(days=1), NOW):
        await write(database, moment, 3)
    owner = Database(as_owner(str(database.engine.url.render_as_string(hide_password=False))), application_name="test")
    async with owner.transaction() as tx:
        await tx.connection.execute(text(changed.replace(":", "\\:")))
    await owner.stop()
    before, loop = await existing(database), Retention(database, audit_key, retention=YEAR, now=lambda: NOW)
    with capture_logs() as logs:
        while (await loop._keep()).more:
            pass
    assert await existing(database) == before[goes:]
    async with database.read() as connection:
        assert len(await chain.all_checkpoints(connection)) == goes
    alarms = [line for line in logs if line["log_level"] == "error"]
    assert REGISTRY.get_sample_value("cuepost_audit_month_refused") == len(alarms) == (said is not None)
    for alarm in alarms:
        assert (alarm["event"], alarm["month"]) == ("month_not_dropped", before[goes].partition)
        assert alarm["said"].startswith(said or "-")


async def test_while_somebody_keeps_a_partition_of_another_name_all_months_stay(
    database: Database, as_owner: Callable[[str], str], audit_key: Ed25519PrivateKey
) -> None:
    """What is in it may be older than a month that is past."""
    await write(database, OLDEST.start - timedelta(days=1), 3)
    owner = Database(as_owner(str(database.engine.url.render_as_string(hide_password=False))), application_name="test")
    range_of = "FOR VALUES FROM ('1990-01-01') TO ('1990-02-01')"
    async with owner.transaction() as tx:
        await tx.connection.execute(text(f"CREATE TABLE audit.by_hand PARTITION OF audit.records {range_of}"))
        await tx.connection.execute(text(f"DROP TABLE audit.{THIS.plus(1).partition}"))
    loop = Retention(database, audit_key, retention=YEAR, now=lambda: NOW)
    with capture_logs() as logs:
        await loop._keep()
    said = {"event": "months_not_dropped", "log_level": "error", "partitions": ("by_hand",)}
    assert [line for line in logs if line["log_level"] == "error"] == [said]
    assert REGISTRY.get_sample_value("cuepost_audit_month_refused") == 1
    assert {OLDEST.plus(-1), THIS.plus(1)} <= set(await existing(database))
    async with owner.transaction() as tx:
        await tx.connection.execute(text("DROP TABLE audit.by_hand"))
    await owner.stop()
    while (await loop._keep()).more:
        pass
    assert OLDEST.plus(-1) not in await existing(database)


async def test_a_setting_that_the_database_was_told_to_exceed_is_warned_of_once(
    database: Database, audit_key: Ed25519PrivateKey
) -> None:
    await keep(database, audit_key, retention=YEAR)
    loop = Retention(database, audit_key, retention=timedelta(days=90), now=lambda: NOW)
    with capture_logs() as logs:
        await loop._keep()
        await loop._keep()
    warned = {"event": "months_kept_longer", "log_level": "warning", "setting": 90, "kept": 400}
    assert [line for line in logs if line["log_level"] == "warning"] == [warned]
    shown = [REGISTRY.get_sample_value("cuepost_audit_retention_days", {"of": of}) for of in ("setting", "database")]
    assert shown == [90, 400]
