"""`make audit-verify`: it proves the trail, or names the first record that was changed by hand in SQL."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from analytics.domain.event import Event
from analytics.domain.month import Month
from analytics.domain.record import Record, digest, link
from analytics.settings import Settings
from analytics.storage import chain, months, records
from analytics.usecases.keep_months import keep_months
from analytics.usecases.record_events import record_events
from analytics.usecases.verify_audit import verify_audit
from analytics.verify_audit import head_of, run
from common.auth.keys import private_key_text, public_key_text
from common.database import Database
from common.ids import uuid7

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)
TOTAL = 50
COPY, FROM_23 = (
    "INSERT INTO audit.records SELECT (jsonb_populate_record(written,",
    "FROM audit.records written WHERE seq = 23",
)
UNBOUNDED = "CREATE TABLE audit.records_9999_01 PARTITION OF audit.records FOR VALUES FROM ('9999-01-01') TO (MAXVALUE)"


@dataclass
class Trail:
    """A trail of 50 records, its service's settings, and somebody with the rights to change anything."""

    settings: Settings
    database: Database
    owner: asyncpg.Connection

    async def verify(self, *known: str, keep: Path | None = None) -> tuple[int, str]:
        code, lines = await run(self.settings, [head_of(item) for item in known], keep)
        return code, "\n".join(lines)

    async def head(self) -> str:
        code, said = await self.verify()
        assert code == 0
        return said.rpartition("head ")[2]

    async def append(self, number: int, moment: datetime | None = None) -> None:
        events = [Event(uuid7(), "a.b.c.v1", "/services/a", "s", NOW, actor="user:1", data={"n": n}) for n in range(number)]
        async with self.database.transaction() as tx:
            if moment is None:
                await record_events(tx, events)
                return
            await records.lock(tx.connection)
            await months.add(tx.connection, Month.of(moment))
            end = await records.end(tx.connection, [])
            await records.append(tx.connection, link(end.head, moment, events))

    async def rewrite(self, first: int) -> None:
        """Change a record and tie all after it anew, as only somebody with the owner's rights and this code can."""
        async with self.database.read() as connection:
            old = [record async for record in chain.all_records(connection) if record.seq >= first - 1]
        new: list[Record] = [old[0]]
        for record in old[1:]:
            tied = record._replace(previous_hash=new[-1].hash, actor="user:2" if record.seq == first else record.actor)
            new.append(tied._replace(hash=digest(tied)))
        await self.owner.execute("DELETE FROM audit.records WHERE seq >= $1", first)
        async with self.database.transaction() as tx:
            await records.append(tx.connection, new[1:])


@pytest.fixture
async def trail(
    migrated_database: Callable[[str], Awaitable[str]],
    as_owner: Callable[[str], str],
    settings_at: Callable[[str], Settings],
) -> AsyncIterator[Trail]:
    url = await migrated_database("analytics")
    settings = settings_at(url)
    database = Database(url, application_name="test")
    owner = await asyncpg.connect(as_owner(url))
    made = Trail(settings, database, owner)
    for _ in range(5):
        await made.append(TOTAL // 5)
    yield made
    await owner.close()
    await database.stop()


async def test_a_trail_that_nobody_touched_holds(trail: Trail) -> None:
    code, said = await trail.verify()
    assert code == 0
    assert said.startswith(f"{TOTAL} records hold, 1 to {TOTAL}, written from ")
    assert f"\nhead {TOTAL}:" in said


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit.records SET result = 'success ' WHERE seq = 23", "record 23 (event {id}) was changed"),
        ("UPDATE audit.records SET data = '{{\"n\": 2}}' WHERE seq = 23", "record 23 (event {id}) was changed"),
        ("UPDATE audit.records SET time = time + interval '1 microsecond' WHERE seq = 23", "record 23 (event {id}) was"),
        ("UPDATE audit.records SET time = 'infinity' WHERE seq >= 23", "record 23 (event {id}) was changed"),
        ("UPDATE audit.records SET time = '20000-01-01' WHERE seq = 23", "record 23 (event {id}) was changed"),
        ("UPDATE audit.records SET time = '4000-01-01 BC' WHERE seq IN (23, 31)", "record 23 (event {id}) was changed"),
        (
            f"{UNBOUNDED}; UPDATE audit.records SET recorded_at = 'infinity' WHERE seq = {TOTAL}",
            f"record {TOTAL} (event {{id}}) was changed",
        ),
        ("UPDATE audit.records SET user_id = id WHERE seq = 23", "record 23 (event {id}) was changed"),
        ("UPDATE audit.records SET actor = NULL WHERE seq IN (23, 31)", "record 23 (event {id}) was changed"),
        (f"UPDATE audit.records SET actor = 'user:2' WHERE seq = {TOTAL}", f"record {TOTAL} (event {{id}}) was changed"),
        ("DELETE FROM audit.records WHERE seq BETWEEN 20 AND 22", "record 20 is missing: the next one there is 23"),
        ("DELETE FROM audit.records WHERE seq <= 10", "record 1 is missing: the next one there is 11"),
        ("UPDATE audit.records SET seq = seq + 100 WHERE seq >= 23", "record 23 is missing: the next one there is 123"),
        (
            "UPDATE audit.records SET seq = 23, recorded_at = recorded_at + interval '1 hour' WHERE seq = 40",
            "record 40 is missing: the next one there is 41",
        ),
        (
            "UPDATE audit.records SET seq = 23, recorded_at = recorded_at + interval '1 hour' WHERE seq = 50",
            "record 23 (event {id}) stands there a second time",
        ),
        (f"{COPY} jsonb_build_object('seq', 0))).* {FROM_23}", "record 0 (event {id}) was added: the first one is 1"),
        (
            f"{COPY} jsonb_build_object('seq', -1, 'recorded_at', (SELECT min(recorded_at) FROM audit.records)))).* {FROM_23}",
            "record -1 (event {id}) was added: the first one is 1",
        ),
    ],
)
async def test_a_record_changed_by_hand_in_sql_is_named(trail: Trail, statement: str, said: str) -> None:
    seq = TOTAL if f"= {TOTAL}" in statement else 23
    identifier = await trail.owner.fetchval("SELECT id FROM audit.records WHERE seq = $1", seq)
    await trail.owner.execute(statement.replace("{{", "{").replace("}}", "}"))
    code, printed = await trail.verify()
    assert code == 1
    assert printed.startswith("BROKEN: " + said.format(id=identifier))


async def test_an_end_that_was_cut_off_or_written_anew_shows_to_who_noted_a_head(trail: Trail, tmp_path: Path) -> None:
    """By hand, or in a file, where the command itself notes the last one that it came to."""
    noted, keep = await trail.head(), tmp_path / "head"
    await trail.verify(keep=keep)
    assert keep.read_text() == noted
    await trail.append(3)
    assert (await trail.verify(noted))[0] == 0
    assert await trail.verify(keep=keep) == await trail.verify(keep.read_text(), keep=keep)
    kept = keep.read_text()
    assert kept.startswith(f"{TOTAL + 3}:")
    assert (await trail.verify(f"{TOTAL + 3}:{'0' * 64}", keep=keep))[0] == 1, "each of two heads of one number counts"
    await trail.rewrite(30)
    assert (await trail.verify())[0] == 0, "the chain alone cannot show it"
    assert await trail.verify(noted) == (
        1,
        f"BROKEN: record {TOTAL} is not the one that was known: the trail was written anew",
    )
    await trail.owner.execute("DELETE FROM audit.records WHERE seq > 40")
    assert (await trail.verify())[0] == 0
    assert await trail.verify(noted) == (1, f"BROKEN: record 41 is missing: the trail has reached {TOTAL} before")
    assert await trail.verify(keep=keep) == (1, f"BROKEN: record 41 is missing: the trail has reached {TOTAL + 3} before")
    assert keep.read_text() == kept


async def aged(trail: Trail, key: Ed25519PrivateKey) -> str:
    """Begin anew with ten records of two months that are dropped; returns the head before that."""
    await trail.owner.execute("DELETE FROM audit.records")
    for days in (500, 460):
        await trail.append(5, NOW - timedelta(days=days))
    await trail.append(5)
    before = await trail.head()
    async with trail.database.transaction() as tx:
        await keep_months(tx, key, now=NOW, retention=timedelta(days=400))
    return before


async def test_a_dropped_month_is_vouched_for_by_its_checkpoint(trail: Trail, audit_key: Ed25519PrivateKey) -> None:
    before = await aged(trail, audit_key)
    code, said = await trail.verify(before, "3:" + "00" * 32)
    assert code == 0
    assert said.splitlines()[0] == "2 older months were dropped, each with a signed checkpoint"
    assert said.splitlines()[1].startswith("5 records hold, 11 to 15,")
    assert f"3:{'00' * 32} lies in a dropped month" in said
    assert (await trail.verify("10:" + "00" * 32))[0] == 1, "a checkpoint tells the hash of its last record"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE audit.checkpoints SET last_hash = sha256('x') WHERE last_seq = 10",
            "record 10 the checkpoint that ends with it",
        ),
        (
            "UPDATE audit.checkpoints SET signature = sha512('x') WHERE last_seq = 5",
            "record 5 the checkpoint that ends with it",
        ),
        (
            "UPDATE audit.checkpoints SET signed_at = 'infinity' WHERE last_seq = 5",
            "record 5 the checkpoint that ends with it",
        ),
        ("UPDATE audit.checkpoints SET month = '20000-01-01' WHERE last_seq = 5", "record 5 the checkpoint that ends with it"),
        ("UPDATE audit.checkpoints SET key = sha256('x') WHERE last_seq = 5", "record 5 the checkpoint that ends with it"),
        ("DELETE FROM audit.checkpoints WHERE last_seq = 5", "record 1 is missing: no checkpoint tells of it"),
        ("DELETE FROM audit.checkpoints", "record 1 is missing: the next one there is 11"),
        ("DELETE FROM audit.records WHERE seq = 11", "record 11 is missing: the next one there is 12"),
    ],
)
async def test_a_checkpoint_changed_by_hand_is_named(
    trail: Trail, audit_key: Ed25519PrivateKey, statement: str, said: str
) -> None:
    await aged(trail, audit_key)
    await trail.owner.execute(statement)
    code, printed = await trail.verify()
    assert code == 1
    assert printed.startswith(f"BROKEN: {said}")


async def test_checkpoints_of_an_earlier_key_count_while_it_is_trusted(trail: Trail, audit_key: Ed25519PrivateKey) -> None:
    await aged(trail, audit_key)
    new = {"audit_signing_key": private_key_text(Ed25519PrivateKey.generate())}
    trail.settings = Settings.model_validate(trail.settings.model_dump() | new)
    assert (await trail.verify())[0] == 1
    old = {"audit_trusted_keys": [public_key_text(audit_key.public_key())]}
    trail.settings = Settings.model_validate(trail.settings.model_dump() | old)
    assert (await trail.verify())[0] == 0


async def test_a_month_is_not_dropped_under_the_eyes_of_who_verifies(trail: Trail, audit_key: Ed25519PrivateKey) -> None:
    async def keep() -> None:
        async with trail.database.transaction() as tx:
            await tx.connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
            await keep_months(tx, audit_key, now=NOW, retention=timedelta(days=400))

    async with trail.database.read() as connection, chain.kept_whole(connection):
        await trail.append(1)
        with pytest.raises(DBAPIError, match="lock timeout"):
            await keep()
    await keep()


async def test_pages_of_the_chain_join_over_months(
    trail: Trail, audit_key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trail.owner.execute("DELETE FROM audit.records")
    for days in (40, 39, 9):
        await trail.append(7, NOW - timedelta(days=days))
    for page in (1, 2, 7, 21, 22):
        monkeypatch.setattr(chain, "PAGE", page)
        async with trail.database.read() as connection:
            proof = await verify_audit(connection, trusted=set())
        assert proof.records == 21


async def test_a_shorter_retention_counts_once_the_owner_says_so(
    trail: Trail, as_owner: Callable[[str], str], audit_key: Ed25519PrivateKey
) -> None:
    """The order of docs/operations.md: the setting, then the owner's command; the trail holds throughout, and shows who did it."""
    await trail.owner.execute("DELETE FROM audit.records")
    for days in (200, 160):
        await trail.append(5, NOW - timedelta(days=days))
    noted = await trail.head()

    async def dropped(days: int) -> int:
        async with trail.database.transaction() as tx:
            return len((await keep_months(tx, audit_key, now=NOW, retention=timedelta(days=days))).dropped)

    async def shortened(url: SecretStr, *days: str) -> str:
        command = sys.executable, "-P", "-m", "analytics.audit_retention", *days
        environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url.get_secret_value(), "LOGNAME": "ada"}
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=STDOUT)
        return (await process.communicate())[0].decode()

    service = trail.settings.database_url
    owner = SecretStr(as_owner(service.get_secret_value()))
    assert "31 days after" in await shortened(owner)
    assert await dropped(400) == 0
    trail.settings = trail.settings.model_copy(update={"event_retention_days": 90})
    assert await dropped(90) == 0
    said = await trail.verify(noted)
    assert said[1].startswith("months are kept for 400 days: the database was told so before EVENT_RETENTION_DAYS was 90\n10 ")

    assert await shortened(service, "90") == "nothing was changed: InsufficientPrivilegeError\n"
    assert "invalid days_of value" in await shortened(owner, "30")
    assert await shortened(owner, "90") == "months are kept for 90 days after their end, before: 400 days\n"
    assert await shortened(owner, "90") == "months are kept for 90 days after their end, before: 90 days\n"
    assert "90 days after" in await shortened(service)
    assert await dropped(90) == 2
    code, lines = await trail.verify(noted)
    assert code == 0
    assert lines.startswith("2 older months were dropped, each with a signed checkpoint\n1 records hold, 11 to 11,")
    told = await trail.owner.fetchrow("SELECT actor, action, object_type, object_id, data FROM audit.records")
    assert told is not None
    assert tuple(told)[:4] == ("operator:ada", "system.audit_retention_changed", "system", "audit.retention")
    assert json.loads(told["data"])["details"] == {"days": 90, "before": 400}

    assert await dropped(400) == 0
    assert (await trail.verify())[1].startswith("months are kept for 400 days"), "a replica with the old setting undoes it"


async def test_the_command_ends_with_its_verdict(trail: Trail) -> None:
    async def ended(*arguments: str, **changes: str) -> tuple[int | None, str]:
        secrets = {name: getattr(trail.settings, name).get_secret_value() for name in ("database_url", "amqp_url")}
        keys = {
            name: getattr(trail.settings, name).get_secret_value() for name in ("service_private_key", "audit_signing_key")
        }
        environment = {name.upper(): value for name, value in (secrets | keys).items()}
        environment |= {"SERVICE_PUBLIC_KEYS": "{}", "PATH": os.environ["PATH"], **changes}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "analytics.verify_audit", *arguments),
            env=environment,
            stdout=PIPE,
            stderr=STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    code, said = await ended()
    assert (code, said.splitlines()[1]) == (0, f"head {await trail.head()}")
    await trail.owner.execute("UPDATE audit.records SET actor = 'user:2' WHERE seq = 7")
    code, said = await ended()
    assert code == 1
    assert said.startswith("BROKEN: record 7 (event ")
    code, said = await ended(DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/nothing")
    assert (code, said) == (2, "could not look: ConnectionRefusedError\n")
    code, said = await ended("7:abc")
    assert code == 2
    assert "invalid head_of value" in said
