"""The service as it runs: told of an account, it looks at it, and its event comes back into the trail."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from analytics.app import wire
from analytics.settings import Settings
from analytics.storage.tables import records
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


async def test_an_account_that_was_told_of_is_looked_at_and_told_of(
    settings_for: Callable[..., Awaitable[Settings]], broker_url: str, user_keys: UserKeys, fake_accounts: Any
) -> None:
    account_id, user_id = uuid7(), uuid4()
    async with (
        running_simulator(SimulatorSettings(port=0)) as simulator,
        serving(fake_accounts.app(jwks_app(user_keys))) as accounts_url,
        httpx.AsyncClient() as http,
        broker_channel(broker_url) as channel,
    ):
        fake_accounts.tokens[account_id] = await Driver(http, simulator.base_url).connect()
        settings = await settings_for(accounts_url, tiktok_api_url=simulator.base_url)
        database = Database(settings.database_url, application_name="test")
        async with serving(wire(settings)) as url:

            async def ready() -> bool:
                return (await http.get(f"{url}/readyz")).status_code == 200

            await eventually(ready)
            await fake_accounts.tell_of(account_id, user_id, channel)

            async def told() -> dict[str, Any] | None:
                async with database.read() as connection:
                    query = select(records).where(records.c.action == "account.stats_collected")
                    row = (await connection.execute(query)).mappings().one_or_none()
                    return None if row is None else dict(row)

            record = await eventually(told)
            assert (record["object_id"], record["user_id"], record["source"]) == (
                str(account_id),
                user_id,
                "/services/analytics",
            )
            assert record["data"]["follower_count"] == 12840
            checks = (await http.get(f"{url}/readyz")).json()["checks"]
            assert {"projector", "snapshots", "video-looks", "statistics-retention", "relay"} <= {
                name.lower() for name in checks
            }
        await database.stop()
