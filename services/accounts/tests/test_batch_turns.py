"""Batches hold up nobody: not who syncs one account, and not the batches of others."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.handlers import queues
from accounts.profile_syncs import ProfileSyncs
from common.contracts.accounts import SyncAccount, SyncAccounts
from common.messaging.command_client import CommandUnavailable
from common.messaging.topology import COMMANDS
from common.testing.amqp import broker_channel
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration


class Held:
    """In place of reading a batch: keeps whose are at work, until told to go on."""

    def __init__(self) -> None:
        self.at_work: list[UUID] = []
        self.go_on = asyncio.Event()

    async def read_many(self, account_ids: Any, user_id: UUID) -> dict[UUID, Any]:
        del account_ids
        self.at_work.append(user_id)
        await self.go_on.wait()
        return {}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()

    async def read_many(_: ProfileSyncs, account_ids: Any, user_id: UUID) -> Any:
        return await held.read_many(account_ids, user_id)

    monkeypatch.setattr(ProfileSyncs, "read_many", read_many)
    return held


def batch() -> SyncAccounts:
    return SyncAccounts(account_ids=[uuid4()])


async def test_a_single_sync_does_not_wait_for_batches(accounts: Any, send: Any, held: Held) -> None:
    person, *crowd = [await accounts.register() for _ in range(4)]
    account_id = await accounts.connect(person)
    batches = [asyncio.create_task(send(batch(), one)) for one in crowd * 2]
    await eventually(lambda: len(held.at_work) >= 2)
    assert (await send(SyncAccount(account_id=account_id), person)).status == 200
    assert len(held.at_work) == 2, "the others wait"
    held.go_on.set()
    assert [reply.status for reply in await asyncio.gather(*batches)] == [200] * 6


async def test_a_user_has_two_batches_and_others_come_next(accounts: Any, send: Any, held: Held) -> None:
    many, other = [await accounts.register() for _ in range(2)]
    mine = [asyncio.create_task(send(batch(), many)) for _ in range(2)]
    await eventually(lambda: held.at_work == [many.user_id] * 2)
    refused = await send(batch(), many)
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (429, "too_many_at_once", "30")
    theirs = asyncio.create_task(send(batch(), other))
    held.go_on.set()
    assert [reply.status for reply in await asyncio.gather(*mine, theirs)] == [200] * 3
    assert (await send(batch(), many)).status == 200, "its places are free again"


async def test_what_is_left_for_single_syncs_is_not_for_batches(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await accounts.execute("INSERT INTO tiktok_call_pace VALUES ('user_info:batches', now() + interval '1 hour')")
    reply = await send(SyncAccounts(account_ids=[account_id]), person)
    assert [item["code"] for item in reply.body["failed"]] == ["not_read_in_time"]
    assert (await send(SyncAccount(account_id=account_id), person)).status == 200


async def test_batches_are_taken_from_the_queue_they_came_through(
    accounts: Any, start: Callable[..., Any], send: Any, held: Held, broker_url: str
) -> None:
    """After an upgrade new ones come to the queue of batches alone, and what waits in the old one is handled there."""
    held.go_on.set()
    person = await accounts.register()
    async with broker_channel(broker_url) as channel:
        old, new = [await channel.get_queue(spec.name) for spec in (queues.SYNC, queues.BATCHES)]
        await new.unbind(COMMANDS.name, SyncAccounts.KEY)
        try:
            await old.bind(COMMANDS.name, SyncAccounts.KEY)
            assert (await send(batch(), person)).status == 200
            await start()
            await new.unbind(COMMANDS.name, SyncAccounts.KEY)
            with pytest.raises(CommandUnavailable):
                await send(batch(), person)
        finally:
            await old.unbind(COMMANDS.name, SyncAccounts.KEY)
            await new.bind(COMMANDS.name, SyncAccounts.KEY)
