"""What dies comes back with nothing lost and nothing doubled, and readiness tells the truth meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from analytics.app import wire
from analytics.settings import Settings
from common.messaging.dead_letters import Redelivery
from common.messaging.incoming import Incoming
from common.testing.amqp import broker_channel
from common.testing.eventually import eventually
from common.testing.http_server import serving
from common.testing.keys import UserKeys

pytestmark = pytest.mark.integration
TOTAL = 3_000


async def test_events_told_over_restarts_and_with_two_replicas_are_stored_once(
    settings_for: Callable[..., Awaitable[Settings]], broker_url: str, user_keys: UserKeys, analytics: Any
) -> None:
    told = [analytics.scheduled(uuid4()) for _ in range(TOTAL)]
    settings = await settings_for("http://127.0.0.1:1", event_batch_size=50, shutdown_grace_seconds=2)

    async def tell() -> None:
        for start in range(0, TOTAL, 100):
            await analytics.tell(*told[start : start + 100])

    async def restart() -> None:
        for _ in range(4):
            async with serving(wire(settings)):
                before = await analytics.stored()
                await eventually(lambda seen=before: moved(seen))

    async def moved(seen: int) -> bool:
        stored = await analytics.stored()
        return stored > seen or stored == TOTAL

    await asyncio.gather(tell(), restart())
    await analytics.stored_exactly(TOTAL)
    assert {row["id"] for row in await analytics.rows()} == {envelope.id for envelope in told}
    assert await analytics.proven() == TOTAL


async def test_a_database_that_goes_away_costs_no_event(analytics: Any) -> None:
    told = [analytics.scheduled(uuid4()) for _ in range(500)]

    async def disturb() -> None:
        for _ in range(5):
            async with analytics.database.read() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'analytics%'"
                    )
                )

    for start in range(0, 500, 50):
        await analytics.tell(*told[start : start + 50])
        await disturb()
    await analytics.stored_exactly(500)
    assert await analytics.proven() == 500


FULL_DISK = """
CREATE SEQUENCE refused;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN PERFORM nextval('public.refused'); RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON audit.records FOR EACH STATEMENT EXECUTE FUNCTION refuse();
"""


async def test_while_its_disk_is_full_events_wait_in_place(analytics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None goes to a retry tier, from which it would become a dead letter: as long as it takes, it is the database's fault."""
    sent_away: list[str] = []
    settle = Redelivery.settle

    async def noted(self: Redelivery, incoming: Incoming, error: BaseException) -> bool:
        sent_away.append(type(error).__name__)
        return await settle(self, incoming, error)

    monkeypatch.setattr(Redelivery, "settle", noted)
    owner = await asyncpg.connect(analytics.owner_url)
    await owner.execute(FULL_DISK)
    await analytics.tell(*(analytics.scheduled(uuid4()) for _ in range(3)))

    async def tried_again() -> bool:
        return bool(await owner.fetchval("SELECT is_called AND last_value >= 4 FROM refused"))

    await eventually(tried_again)
    assert (sent_away, await analytics.stored()) == ([], 0)
    await owner.execute("DROP TRIGGER full_disk ON audit.records")
    await owner.close()
    await analytics.stored_exactly(3)
    assert (sent_away, await analytics.proven()) == ([], 3)


async def test_readiness_is_red_without_keys_and_names_the_part(
    settings_for: Callable[..., Awaitable[Settings]],
) -> None:
    settings = await settings_for("http://127.0.0.1:1")
    async with serving(wire(settings)) as url, httpx.AsyncClient(base_url=url) as http:
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        checks = answer.json()["checks"]
        assert [name for name, check in checks.items() if not check["ok"]] == ["UserTokenVerifier"]
        assert (await http.get("/healthz")).status_code == 200


async def test_readiness_is_red_when_the_queue_has_no_consumer(analytics: Any, broker_url: str) -> None:
    async with broker_channel(broker_url) as channel:
        await channel.queue_delete("analytics.all_events")

    async def red() -> bool:
        answer = await analytics.http.get("/readyz")
        return answer.status_code == 503 and not answer.json()["checks"]["consumer"]["ok"]

    await eventually(red)
