"""Fixtures of the scheduler's tests: a migrated database, an outbox, posts on demand."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text

from common.clock import utc_now
from common.contracts import accounts as contract
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.database.database import Database
from common.ids import uuid7
from common.messaging.outbox import Outbox
from common.testing.kept_outbox import keep_outbox, kept_messages
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.post import Post
from scheduler.storage.accounts import save_account
from scheduler.storage.claim import ClaimLimits
from scheduler.storage.posts import insert_post, lock_post, to_post
from scheduler.storage.tables import media, posts
from scheduler.storage.tables import outbox as outbox_rows
from scheduler.usecases.apply_account_event import apply_account_event
from scheduler.usecases.claim_due_posts import Claimed, claim_due_posts
from scheduler.usecases.waker import Waker

LIMITS = ClaimLimits()
CleanDatabase = Callable[[str], Awaitable[str]]


@dataclass
class World:
    """The scheduler's database with helpers to fill it and to look into it."""

    database: Database
    url: str
    woken: list[datetime] = field(default_factory=list)

    @property
    def outbox(self) -> Outbox:
        """An outbox that wakes no relay; one that runs for other tests of the file takes out what it holds all the same."""
        return Outbox(outbox_rows, service="scheduler", wake=lambda: None)

    @property
    def waker(self) -> Waker:
        """A waker that notes its calls."""
        return Waker(lambda: self.woken.append(utc_now()))

    async def account(self, user_id: UUID | None = None, **fields: Any) -> AccountCopy:
        """Store an account copy."""
        values = {"username": "ann", "status": "active", "version": 1, **fields}
        copy = AccountCopy(id=uuid7(), user_id=user_id or uuid7(), **values)
        async with self.database.transaction() as tx:
            await save_account(tx.connection, copy)
        return copy

    async def media(self, user_id: UUID, **fields: Any) -> UUID:
        """Store a ready file and return its id."""
        values = {
            "id": uuid7(),
            "user_id": user_id,
            "status": "ready",
            "filename": "a.mp4",
            "content_type": "video/mp4",
            "size_bytes": 1000,
            "sha256": "ab" * 32,
            "storage_key": "media/a.mp4",
            "duration_ms": 15_000,
            **fields,
        }
        async with self.database.transaction() as tx:
            await tx.connection.execute(media.insert().values(values))
        return UUID(str(values["id"]))

    async def post(self, **fields: Any) -> Post:
        """Store a post; by default scheduled, due a minute ago, with a day until its deadline."""
        async with self.database.transaction() as tx:
            return await insert_post(tx.connection, post_values(**fields))

    async def many(self, rows: list[dict[str, Any]]) -> None:
        """Store many posts at once."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(posts.insert(), rows)

    async def reload(self, post: Post) -> Post:
        """Return the post as it is now."""
        async with self.database.transaction() as tx:
            found = await lock_post(tx.connection, post.id)
        assert found is not None
        return found

    async def all_posts(self) -> list[Post]:
        """Return every post as it is now."""
        async with self.database.read() as connection:
            return [to_post(row) for row in await connection.execute(select(posts))]

    async def told(self) -> list[Envelope]:
        """Return the envelopes that came into the outbox, in the order they were written, sent or not."""
        return await kept_messages(self.database)

    async def counts(self) -> dict[str, int]:
        """Return how many posts are in each state."""
        async with self.database.read() as connection:
            rows = await connection.execute(select(posts.c.status, func.count()).group_by(posts.c.status))
            return {row[0]: row[1] for row in rows}

    async def claim(self, limits: ClaimLimits = LIMITS, **arguments: Any) -> Claimed:
        """Claim what is due, as a step of the due loop does."""
        async with self.database.transaction() as tx:
            return await claim_due_posts(tx, self.outbox, limits, **arguments)

    async def hear(
        self, account: AccountCopy, kind: type[contract.AccountEvent], version: int, status: str = "active", **fields: Any
    ) -> None:
        """Apply what the accounts service tells of an account; `fields` are the envelope's."""
        given = {
            "account_id": account.id,
            "user_id": account.user_id,
            "tiktok_user_id": "t",
            "username": account.username,
            "display_name": "Ann",
            "status": status,
            "scopes": [],
            "reconnected": True,
            "synced_at": utc_now(),
            "reason": "gone",
        }
        event = kind.model_validate({name: value for name, value in given.items() if name in kind.model_fields})
        context = Context(user_id=account.user_id)
        envelope = wrap(event, service="accounts", subject=str(account.id), context=context, sequence=version, **fields)
        async with self.database.transaction() as tx:
            await apply_account_event(tx, self.outbox, self.waker, event, envelope)

    async def execute(self, sql: str, **parameters: Any) -> None:
        """Run a statement."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(text(sql), parameters)


def post_values(**fields: Any) -> dict[str, Any]:
    """Return the columns of a post as `create_post` would write them."""
    due = fields.get("next_attempt_at", utc_now() - timedelta(minutes=1))
    return {
        "id": uuid7(),
        "user_id": uuid7(),
        "account_id": uuid7(),
        "status": "scheduled",
        "caption": "hello",
        "title": "hello",
        "privacy_level": "PUBLIC_TO_EVERYONE",
        "mode": "direct",
        "transfer": "upload",
        "scheduled_time": due,
        "next_attempt_at": due,
        "publish_before": utc_now() + timedelta(days=1),
        **fields,
    }


@pytest.fixture
def values() -> Callable[..., dict[str, Any]]:
    """Return the maker of post columns."""
    return post_values


@pytest_asyncio.fixture(loop_scope="session")
async def world(clean_database: CleanDatabase) -> AsyncIterator[World]:
    """Give the scheduler's emptied database."""
    url = await clean_database("scheduler")
    database = Database(url, application_name="test", pool_size=20)
    await keep_outbox(database)
    # Its connection belongs to this loop; a test may use the database on another.
    await database.stop()
    yield World(database, url)
    await database.stop()


@pytest.fixture
async def account(world: World) -> AccountCopy:
    """Return an active account of a user of its own."""
    return await world.account()
