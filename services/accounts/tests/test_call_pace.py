"""Turns of calls to TikTok: some at once, the others one after the other, in all replicas together."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from accounts.call_pace import BURST, INTERVAL, USER_INFO, BatchPace, CallPace
from accounts.storage.call_pace import book_call
from common.database import Database
from common.errors import Problem
from tiktok.errors import TikTokRateLimited

pytestmark = pytest.mark.integration
STEP = timedelta(milliseconds=100)


@pytest.fixture
async def database(clean_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    made = Database(await clean_database("accounts"), application_name="test")
    yield made
    await made.stop()


def test_a_minute_holds_less_than_tiktok_allows() -> None:
    assert BURST + timedelta(minutes=1) / INTERVAL <= 550


async def test_what_exceeds_the_burst_waits_its_turn_and_what_would_wait_too_long_is_refused(database: Database) -> None:
    replicas = [CallPace(database, "x", burst=3, interval=STEP, wait_max=timedelta(milliseconds=450)) for _ in range(2)]
    begin, left, refused = time.monotonic(), [], []

    async def call(pace: CallPace) -> None:
        try:
            await pace.wait()
        except TikTokRateLimited as error:
            refused.append(error.retry_after)
        else:
            left.append(time.monotonic() - begin)

    await asyncio.gather(*(call(replicas[number % 2]) for number in range(40)))
    left.sort()
    # However slow the machine is, the nth call cannot leave before its turn.
    assert all(moment >= (number - 3) * 0.1 - 0.02 for number, moment in enumerate(left, start=1))
    assert len(left) >= 7
    assert len(refused) == 40 - len(left) > 0
    assert set(refused) == {0.45}


async def test_endpoints_do_not_share_turns_and_an_idle_one_saves_none_up(database: Database) -> None:
    async with database.read() as connection:
        for endpoint in ("x", "y"):
            ahead = await book_call(connection, endpoint, interval=timedelta(minutes=1), limit=timedelta(minutes=1))
            assert ahead is not None
            assert timedelta(seconds=50) < ahead <= timedelta(minutes=1)
        assert await book_call(connection, "x", interval=STEP, limit=timedelta(minutes=1)) is None
        await connection.exec_driver_sql("UPDATE tiktok_call_pace SET booked_until = now() - interval '1 day'")
        ahead = await book_call(connection, "x", interval=STEP, limit=STEP)
        assert ahead is not None
        assert timedelta(0) < ahead <= STEP


async def test_batches_leave_turns_for_others(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.call_pace.BATCH_WAIT_MAX", timedelta(0))
    batches, single = BatchPace(database), CallPace(database, USER_INFO, wait_max=timedelta(0))
    for _ in range(50):
        await batches.wait()
    for _ in range(100):
        with suppress(Problem):
            await batches.wait()
    for _ in range(100):
        await single.wait()
