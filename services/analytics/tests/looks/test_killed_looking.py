"""The process is killed between TikTok's answer and the commit of the snapshot."""

import signal
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from analytics.domain.measures import hour_of
from analytics.settings import Settings
from common.database import Database
from common.ids import uuid7
from common.testing.amqp import broker_channel
from common.testing.eventually import eventually
from common.testing.http_server import jwks_app, serving
from common.testing.keys import UserKeys
from tiktok_simulator.driver import Driver
from tiktok_simulator.settings import Settings as SimulatorSettings
from tiktok_simulator.testing import running_simulator

pytestmark = pytest.mark.integration
USER_INFO = "/v2/user/info/"


async def test_no_snapshot_is_lost_doubled_or_made_up(
    settings_for: Callable[..., Awaitable[Settings]],
    broker_url: str,
    user_keys: UserKeys,
    fake_accounts: Any,
    process: Any,
    as_owner: Callable[[str], str],
) -> None:
    """Its statement waits for a lock when it dies, so TikTok has answered; the next process asks TikTok again."""
    account_id, user_id = uuid7(), uuid4()
    async with (
        running_simulator(SimulatorSettings(port=0)) as simulator,
        serving(fake_accounts.app(jwks_app(user_keys))) as accounts_url,
        httpx.AsyncClient() as http,
        broker_channel(broker_url) as channel,
    ):
        tiktok = Driver(http, simulator.base_url)
        fake_accounts.tokens[account_id] = await tiktok.connect()
        settings = await settings_for(accounts_url, tiktok_api_url=simulator.base_url)
        database = Database(settings.database_url, application_name="test")
        owner = await asyncpg.connect(as_owner(settings.database_url.get_secret_value()))

        async def read(query: str) -> list[dict[str, Any]]:
            async with database.read() as connection:
                return [dict(row) for row in (await connection.execute(text(query))).mappings()]

        async def stored() -> list[dict[str, Any]]:
            return await read("SELECT * FROM account_snapshots")

        async def waits() -> list[dict[str, Any]]:
            return await read("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'account_snapshots'::regclass")

        async with process(settings, "dying") as dying, owner.transaction():
            await owner.execute("LOCK TABLE account_snapshots IN SHARE MODE")
            await fake_accounts.tell_of(account_id, user_id, channel)
            await eventually(waits, timeout=60)
            assert (await tiktok.stats())["requests"][USER_INFO] == {"200": 1}
            dying.send_signal(signal.SIGKILL)
            assert await dying.wait() == -signal.SIGKILL
        assert await stored() == []

        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE stats_accounts SET leased_until = now()"))  # Its lease is over.
        async with process(settings, "next"):
            (snapshot,) = await eventually(stored, timeout=60)

            async def told() -> list[dict[str, Any]]:
                return await read("SELECT data FROM audit.records WHERE action = 'account.stats_collected'")

            (record,) = await eventually(told, timeout=60)
        assert (await tiktok.stats())["requests"][USER_INFO] == {"200": 2}
        assert record["data"]["follower_count"] == snapshot["follower_count"] == 12840
        (planned,) = await read("SELECT snapshot_due_at, now() AS now FROM stats_accounts")
        assert hour_of(planned["snapshot_due_at"]) > hour_of(snapshot["collected_at"])
        assert len(await stored()) == 1
        await owner.close()
        await database.stop()
