"""The clock steps by an hour while the due loop waits: PostgreSQL's, which says what is due, and that of the process with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from common.clock import utc_now
from common.database import Database
from common.due_loop import StepResult
from common.testing.eventually import eventually
from common.testing.kept_outbox import keep_outbox
from scheduler.domain.post import Post
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import DuePosts
from scheduler.storage.claim import ClaimLimits
from scheduler.usecases.waker import Waker

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)
CLOCK_FUNCTIONS = ("now", "transaction_timestamp", "statement_timestamp", "clock_timestamp")
# Sessions find these before PostgreSQL's own.
STEPPED_CLOCK = (
    "CREATE SCHEMA stepped",
    "CREATE TABLE stepped.step AS SELECT interval '0' AS by",
    *(
        f"CREATE FUNCTION stepped.{name}() RETURNS timestamptz LANGUAGE sql STABLE"
        f" AS 'SELECT pg_catalog.{name}() + by FROM stepped.step'"
        for name in CLOCK_FUNCTIONS
    ),
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = stepped, pg_catalog, public', current_database()); END $$",
)


class Watched(DuePosts):
    """The due loop, which notes when it has looked."""

    looks: int = 0
    has_looked: bool = False
    """Whether the loop is on its way from a look to its sleep."""

    async def step(self) -> StepResult:
        self.has_looked = False
        result = await super().step()
        self.looks += 1
        self.has_looked = not result.more
        return result


class Stepped:
    """A world whose clock can be stepped, with a due loop that runs."""

    def __init__(self, world: Any, due: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.due = world, due
        self._monkeypatch = monkeypatch
        self.sleeps: list[float] = []
        """For how many seconds at most the loop was about to sleep, each time."""
        self._timeout = asyncio.timeout
        monkeypatch.setattr("common.due_loop.asyncio.timeout", self._note)

    def _note(self, delay: float | None) -> asyncio.Timeout:
        task = asyncio.current_task()
        if delay is not None and task is not None and task.get_name() == "due-loop:due_posts" and self.due.has_looked:
            self.sleeps.append(delay)
            self.due.has_looked = False
        return self._timeout(delay)

    async def step_clock(self, by: timedelta) -> None:
        """Let all clocks differ from the true time by this much from now on."""
        self._monkeypatch.setattr("scheduler.usecases.waker.utc_now", lambda: utc_now() + by)
        await self.world.execute("UPDATE stepped.step SET by = :by", by=by)

    async def now(self) -> datetime:
        """Return the time by PostgreSQL's clock."""
        async with self.world.database.read() as connection:
            return datetime.fromisoformat(str(await connection.scalar(select(func.clock_timestamp()))))

    async def post(self, due_in: timedelta) -> Post:
        """Store a post, and wake the loop as a command does."""
        post: Post = await self.world.post(next_attempt_at=await self.now() + due_in)
        async with self.world.database.transaction() as tx:
            Waker(self.due.loop.wake).wake_for(tx, post)
        return post

    async def post_that_was_due(self, due_in: timedelta) -> Post:
        """Store a post and step the clock back by an hour before it is due; made anew when the machine was slower than that."""
        while True:
            post = await self.post(due_in)
            await self.step_clock(-HOUR)
            if await self.status(post) == "scheduled":
                return post
            await self.step_clock(timedelta(0))

    async def looked(self, times: int = 2) -> None:
        """Wait until the loop has looked so often from now on; the first of these may have begun before."""
        since = self.due.looks
        await eventually(lambda: self.due.looks >= since + times, 60)

    async def left(self, post: Post) -> Post:
        """Wait until a post has left, and return it."""

        async def has_left() -> Post | None:
            found: Post = await self.world.reload(post)
            return found if found.status == "due" else None

        found = await eventually(has_left, 60)
        assert found is not None
        assert found.due_at is not None
        assert found.updated_at >= found.due_at, "by PostgreSQL's clock it did not leave early"
        return found

    async def status(self, post: Post) -> str:
        found: Post = await self.world.reload(post)
        return found.status


@pytest.fixture
async def stepped(
    world: Any, intake: Any, migrated_database: Callable[[str], Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stepped]:
    url = await migrated_database("scheduler")
    before = Database(url, application_name="test")
    for statement in STEPPED_CLOCK:
        async with before.transaction() as tx:
            await tx.driver.execute(statement)
    await keep_outbox(before)
    await before.stop()
    database = Database(url, application_name="test")
    other = replace(world, database=database, url=url)
    due = Watched(database, other.outbox, ClaimLimits(), Backlog(database, intake, limit=100_000))
    await due.loop.start()
    yield Stepped(other, due, monkeypatch)
    await due.loop.stop()
    await database.stop()


async def test_a_step_forward_lets_leave_what_has_become_due_and_nothing_else(stepped: Stepped) -> None:
    """The loop sleeps until a post that is due in an hour; the clock comes there at once."""
    first, second = await stepped.post(HOUR), await stepped.post(2 * HOUR)
    await stepped.looked()
    assert await stepped.status(first) == "scheduled"
    await stepped.step_clock(HOUR)
    await stepped.left(first)
    await stepped.looked()
    assert await stepped.status(second) == "scheduled"
    assert 0 < max(stepped.sleeps) <= 1.0, "it looks again within a second, however far away the next post is"


async def test_after_a_step_back_nothing_leaves_at_the_old_instant(stepped: Stepped) -> None:
    """The loop sleeps until a post that is due in a moment; that moment passes an hour early, by the clock."""
    post = await stepped.post_that_was_due(timedelta(seconds=1.5))
    old_instant = asyncio.get_running_loop().time() + 1.5
    await eventually(lambda: asyncio.get_running_loop().time() > old_instant, 60)
    await stepped.looked()
    assert await stepped.status(post) == "scheduled"
    # What is due by the clock as it is now leaves meanwhile.
    await stepped.left(await stepped.post(timedelta(seconds=0.3)))
    assert await stepped.status(post) == "scheduled"
    # An hour later, by the clock.
    await stepped.step_clock(timedelta(0))
    await stepped.left(post)


async def test_a_step_there_and_back_sends_nothing_twice(stepped: Stepped) -> None:
    post, later = await stepped.post(HOUR), await stepped.post(2 * HOUR)
    await stepped.step_clock(HOUR)
    attempt = (await stepped.left(post)).attempt
    await stepped.step_clock(-HOUR)
    await stepped.looked()
    assert (await stepped.world.reload(post)).attempt == attempt
    assert await stepped.status(later) == "scheduled"
    assert [envelope.subject for envelope in await stepped.world.told()] == [str(post.id)]
