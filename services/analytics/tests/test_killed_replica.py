"""One of two replicas is killed with events in hand: the chain holds, and each event is in it once."""

import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from analytics.settings import Settings
from analytics.storage.records import LOCK_KEY
from common.testing.eventually import eventually
from common.testing.http_server import jwks_app, serving
from common.testing.keys import UserKeys

pytestmark = pytest.mark.integration
EACH = 400
WAITING = """
SELECT DISTINCT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND NOT granted AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_a_replica_that_is_killed_with_its_batch_in_hand_costs_and_doubles_nothing(
    analytics: Any, settings_for: Callable[..., Awaitable[Settings]], user_keys: UserKeys, process: Any
) -> None:
    """Both replicas wait for the end of the chain, which is held, each with a batch in hand; then one of them dies.

    The other one gets back what the dead one had, some of it a second time, while more comes.
    """
    told: list[Any] = []
    async with serving(jwks_app(user_keys)) as accounts_url:
        settings = await settings_for(accounts_url, event_batch_size=50)
        for number in range(2):
            name = f"killed-{number}"
            async with process(settings, name) as replica, analytics.database.transaction() as tx:
                await tx.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
                events = [analytics.scheduled(uuid4()) for _ in range(EACH)]
                await analytics.tell(*events, *told[::3], *events[::2])
                told += events

                async def both_wait(mine: str = name) -> bool:
                    async with analytics.database.read() as connection:
                        return len(names := set(await connection.scalars(text(WAITING)))) == 2 and mine in names

                await eventually(both_wait, timeout=60)
                replica.send_signal(signal.SIGKILL)
                assert await replica.wait() == -signal.SIGKILL
                assert await analytics.stored() == number * EACH
            await analytics.tell(*told[::5])
            await eventually(partial(all_stored, analytics, len(told)), timeout=60)
    assert {row["id"] for row in await analytics.rows()} == {envelope.id for envelope in told}
    assert await analytics.proven() == 2 * EACH


async def all_stored(analytics: Any, number: int) -> bool:
    return bool(await analytics.stored() == number)
