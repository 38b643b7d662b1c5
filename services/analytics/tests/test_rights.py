"""What the service's own role can do with the audit trail: append and read. The database refuses everything else."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import DBAPIError

from analytics.domain.checkpoint import sign
from analytics.domain.event import Event
from analytics.domain.month import Month
from analytics.domain.record import GENESIS, link
from analytics.storage import months, records
from analytics.usecases.check_rights import check_rights
from analytics.usecases.keep_months import keep_months
from analytics.usecases.prove_past import PastProof
from analytics.usecases.record_events import record_events
from common.database import Database
from common.ids import uuid7
from common.testing.databases import TestDatabases

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(run_databases: TestDatabases, audit_key: Ed25519PrivateKey) -> str:
    url = await run_databases.migrated("analytics")
    database = Database(url, application_name="test")
    async with database.transaction() as tx:
        await keep_months(tx, audit_key, now=datetime.now(UTC), retention=timedelta(days=400))
        events = [Event(uuid7(), "a.b.c.v1", "/services/a", "s", datetime.now(UTC)) for _ in range(3)]
        assert await record_events(tx, events) == events
    await database.stop()
    return url


@pytest.fixture
async def service(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


PARTITION = f"audit.records_{datetime.now(UTC):%Y_%m}"
REFUSED = [
    *(
        statement.format(table=table)
        for table in ("audit.records", PARTITION, "audit.checkpoints")
        for statement in (
            "UPDATE {table} SET key = key",
            "DELETE FROM {table}",
            "TRUNCATE {table}",
            "DROP TABLE {table}",
            "ALTER TABLE {table} ADD COLUMN x int",
            "ALTER TABLE {table} DISABLE TRIGGER ALL",
        )
    ),
    f"SELECT * FROM {PARTITION} FOR UPDATE",
    f"INSERT INTO {PARTITION} SELECT * FROM audit.records",
    "INSERT INTO audit.records SELECT * FROM audit.records ON CONFLICT (recorded_at, seq) DO UPDATE SET seq = 0",
    f"ALTER TABLE audit.records DETACH PARTITION {PARTITION}",
    "UPDATE audit.retention SET days = 31",
    "DELETE FROM audit.retention",
    "INSERT INTO audit.checkpoints VALUES (now(), 1, 3, '', now(), now(), '', '')",
    "CREATE TABLE audit.other (id int)",
    "CREATE TABLE public.other (id int)",
    "CREATE SCHEMA other",
    "DROP SCHEMA audit CASCADE",
    "SET session_replication_role = replica",
    "ALTER FUNCTION audit.drop_month SECURITY INVOKER",
    "CREATE OR REPLACE FUNCTION audit.keep_at_least(wanted integer) RETURNS integer LANGUAGE sql AS 'SELECT 31'",
    "CREATE OR REPLACE FUNCTION audit.add_month(first_day date) RETURNS void LANGUAGE sql AS ''",
]


@pytest.mark.parametrize("statement", REFUSED)
async def test_the_database_refuses(service: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(statement)


async def test_it_cannot_give_itself_more_rights(service: asyncpg.Connection) -> None:
    await service.execute("GRANT ALL ON audit.records, audit.checkpoints TO CURRENT_USER")  # PostgreSQL only warns.
    for statement in ("UPDATE audit.records SET key = key", "DELETE FROM audit.checkpoints"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement)


@pytest.mark.parametrize(("ended", "asked", "said"), [(1, 31, 31), (12, 400, 400), (13, 31, 400)])
async def test_a_month_that_is_kept_still_cannot_be_dropped_not_even_with_a_fitting_checkpoint(
    run_databases: TestDatabases, audit_key: Ed25519PrivateKey, ended: int, asked: int, said: int
) -> None:
    """The longer of 31 days and the longest retention that was ever asked for counts, whatever the service asks for now."""
    now = datetime.now(UTC)
    old = Month.of(now).plus(-ended)
    database = Database(await run_databases.migrated("analytics"), application_name="test")
    async with database.transaction() as tx:
        await months.add(tx.connection, old)
        await keep_months(tx, audit_key, now=now, retention=timedelta(days=said))
        await records.append(tx.connection, link(GENESIS, old.start, [Event(uuid7(), "a.b.c.v1", "/services/a", "s", now)]))
    async with database.read() as connection:
        assert await months.keep_at_least(connection, asked) == said
        proof = PastProof(old.plus(1))
        await proof.begin(connection, ())
        await proof.go_on(connection)
        checkpoint = proof.checkpoint(old, signed_at=now)
        assert checkpoint is not None
        with pytest.raises(DBAPIError, match=f"ended less than {said} days ago"):
            await months.drop(connection, old, sign(checkpoint, audit_key))
    async with database.transaction() as tx:
        kept = await keep_months(tx, audit_key, now=now, retention=timedelta(days=asked))
    assert kept.dropped == ()
    await database.stop()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("audit.drop_month('{next}', NULL, NULL, NULL, NULL, NULL, NULL, NULL)", "is not the oldest month"),
        ("audit.drop_month('{oldest}', 1, 2, 'x', now(), now(), 'k', 's')", "the checkpoint does not fit"),
        ("audit.drop_month('{oldest}', NULL, NULL, NULL, NULL, NULL, NULL, NULL)", "the checkpoint does not fit"),
        ("audit.add_month('2026-11-02')", "is not the first day of a month"),
    ],
)
async def test_the_owners_functions_do_only_what_is_right(
    service: asyncpg.Connection, url: str, as_owner: Callable[[str], str], call: str, said: str
) -> None:
    await service.execute("SELECT audit.add_month('2020-05-01'), audit.add_month('2020-04-01')")
    owner = await asyncpg.connect(as_owner(url))
    await owner.execute(
        "DELETE FROM audit.records WHERE recorded_at < '2021-01-01';"
        "INSERT INTO audit.records SELECT 1, '2020-04-07', hash, hash, id, key, source, subject, time, user_id, actor, client_ip,"
        " user_agent, correlation_id, causation_id, sequence, action, object_type, object_id, result, reason, changes, data, again"
        " FROM audit.records LIMIT 1"
    )
    await owner.close()
    with pytest.raises(asyncpg.InvalidParameterValueError, match=said):
        await service.execute(f"SELECT {call}".format(oldest="2020-04-01", next="2020-05-01"))


async def test_the_functions_believe_no_other_schema(service: asyncpg.Connection) -> None:
    """Whoever may make temporary tables could otherwise slip the owner a `pg_inherits` of theirs."""
    config = await service.fetch("SELECT proconfig, prosecdef FROM pg_proc WHERE pronamespace = 'audit'::regnamespace")
    assert [(row["proconfig"], row["prosecdef"]) for row in config] == [(["search_path=pg_catalog, pg_temp"], True)] * 3


async def test_readiness_says_when_the_role_may_do_more(url: str, as_owner: Callable[[str], str]) -> None:
    for address, fine in ((url, True), (as_owner(url), False)):
        database = Database(address, application_name="test")
        reason = await check_rights(database)
        await database.stop()
        assert (reason is None) is fine
        assert fine or "may change the audit trail" in str(reason)


async def test_tables_of_later_versions_outside_the_trail_are_the_services_to_write(
    service: asyncpg.Connection, url: str, as_owner: Callable[[str], str]
) -> None:
    owner = await asyncpg.connect(as_owner(url))
    await owner.execute("CREATE TABLE later (id bigserial, name text)")
    await owner.close()
    await service.execute("INSERT INTO later (name) VALUES ('a'); UPDATE later SET name = 'b'; DELETE FROM later")
