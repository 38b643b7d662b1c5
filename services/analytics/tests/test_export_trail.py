"""`make audit-export`: the whole trail, as lines from which its hashes can be made again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from analytics.domain.event import Event
from analytics.export_trail import run
from analytics.settings import Settings
from analytics.storage import chain
from analytics.storage.months import LOCK_KEY
from analytics.usecases.record_events import record_events
from common.auth.keys import private_key_text
from common.database import Database
from common.ids import uuid7
from common.testing.eventually import eventually
from common.testing.keys import ServiceKeys

pytestmark = pytest.mark.integration
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IN_ORDER = (
    *("seq", "recorded_at", "previous_hash", "id", "key", "source", "subject", "time", "user_id", "actor", "client_ip"),
    *("user_agent", "correlation_id", "causation_id", "sequence", "action", "object_type", "object_id", "result", "reason"),
    *("changes", "data", "again"),
)


def hash_of(line: dict[str, Any]) -> str:
    """As the documentation says, with nothing of ours."""

    def value(name: str) -> Any:
        if name not in {"recorded_at", "time"}:
            return line[name]
        return (datetime.fromisoformat(line[name]) - EPOCH) // timedelta(microseconds=1)

    form = json.dumps([1, *map(value, IN_ORDER)], separators=(",", ":"), ensure_ascii=False)
    return sha256(form.encode()).hexdigest()


async def test_every_line_has_what_its_hash_is_made_of(
    migrated_database: Callable[[str], Awaitable[str]],
    service_keys: ServiceKeys,
    audit_key: Ed25519PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain, "PAGE", 3)
    settings = Settings(
        database_url=await migrated_database("analytics"),
        amqp_url="amqp://nobody@localhost",
        service_private_key=service_keys.private_text("analytics"),
        service_public_keys=service_keys.public_texts(),
        audit_signing_key=private_key_text(audit_key),
    )
    now, odd = datetime.now(UTC), {"changes": {"caption": ['a "b"\u2028', "c\u00e9"]}, "n": 1.5}
    events = [
        Event(uuid7(), "operator.action.v1", "/services/operator", "q", now, actor="operator:ada", data={"action": "x"}),
        Event(
            uuid7(), "scheduler.post.updated.v1", "/services/scheduler", "p", now, uuid4(), "user:7", "::1", "cu\\rl", data=odd
        ),
        *(Event(uuid7(), "a.b.c.v1", "/s", "s", now, sequence=n) for n in range(6)),
    ]
    database = Database(settings.database_url, application_name="test")
    async with database.transaction() as tx:
        await record_events(tx, events)
    monkeypatch.setenv("LOGNAME", "grace")
    written: list[bytes] = []
    await run(settings, None, written.append)
    lines = [json.loads(line) for line in written]
    assert [line["id"] for line in lines[:-1]] == [str(event.id) for event in events]
    assert [line["hash"] for line in lines] == [hash_of(line) for line in lines]
    assert [line["previous_hash"] for line in lines] == ["00" * 32, *(line["hash"] for line in lines[:-1])]
    assert (lines[0]["actor"], lines[0]["action"]) == ("operator:ada", "system.x")
    rest: list[bytes] = []
    await run(settings, 5, rest.append)
    assert rest[:-1] == written[5:]
    for told, details in ((lines[-1], {}), (json.loads(rest[-1]), {"after": 5})):
        assert [told[name] for name in ("actor", "action", "user_id")] == ["operator:grace", "system.audit_exported", None]
        assert json.loads(told["data"]) == {"action": "audit_exported", "details": details}
    first = "SELECT (jsonb_populate_record(r, jsonb_build_object('seq', 0))).* FROM audit.records r WHERE seq = 1"
    async with database.transaction() as tx:
        await tx.connection.execute(text(f"INSERT INTO audit.records {first}"))
    await database.stop()
    everything: list[bytes] = []
    await run(settings, None, everything.append)
    assert json.loads(everything[0])["seq"] == 0, "what somebody put before the first one is printed, too"


async def test_nothing_is_printed_that_is_not_recorded(
    migrated_database: Callable[[str], Awaitable[str]],
    as_owner: Callable[[str], str],
    settings_at: Callable[[str], Settings],
) -> None:
    """The record comes before the first line: a role that may only read prints none."""
    url = await migrated_database("analytics")
    settings = settings_at(url)
    database = Database(url, application_name="test")
    async with database.transaction() as tx:
        await record_events(tx, [Event(uuid7(), "a.b.c.v1", "/s", "s", datetime.now(UTC))])
    async with database.read() as connection:
        role = await connection.scalar(text("SELECT quote_ident(current_user)"))
    await database.stop()
    owner = Database(as_owner(url), application_name="test")
    async with owner.transaction() as tx:
        await tx.connection.execute(text(f"REVOKE INSERT ON audit.records FROM {role}"))
    await owner.stop()
    written: list[bytes] = []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(settings, None, written.append)
    assert written == []


async def test_no_month_is_dropped_while_it_is_written(
    migrated_database: Callable[[str], Awaitable[str]],
    service_keys: ServiceKeys,
    audit_key: Ed25519PrivateKey,
) -> None:
    """It waits for a drop that is under way, and a drop for it, as the proof does."""
    settings = Settings(
        database_url=await migrated_database("analytics"),
        amqp_url="amqp://nobody@localhost",
        service_private_key=service_keys.private_text("analytics"),
        service_public_keys=service_keys.public_texts(),
        audit_signing_key=private_key_text(audit_key),
    )
    database = Database(settings.database_url, application_name="test")

    async def waits() -> bool:
        async with database.read() as connection:
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return await connection.scalar(text(query)) == 1

    async with database.transaction() as tx:
        await record_events(tx, [Event(uuid7(), "a.b.c.v1", "/s", "s", datetime.now(UTC))])
    written: list[bytes] = []
    async with database.transaction() as dropping:
        await dropping.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        export = asyncio.create_task(run(settings, None, written.append))
        await eventually(waits)
        assert written == []
    await export
    await database.stop()
    assert len(written) == 2
