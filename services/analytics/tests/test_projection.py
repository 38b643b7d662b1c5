"""Copies of accounts and posts are made from the trail: once, in any order, by one replica at a time, and anew when wanted."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from analytics.domain.look_times import VideoLooks
from analytics.handlers.all_events import decode
from analytics.loops.projector import Projector
from analytics.storage import projection
from analytics.usecases.project_events import Projected, ProjectionRules, project_events
from analytics.usecases.record_events import record_events
from common.contracts import accounts, publisher, scheduler
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.message import Event
from common.database import Database
from common.ids import uuid7
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = (datetime.now(UTC) - HOUR).replace(minute=30, second=0, microsecond=0)
LOOKS = VideoLooks((HOUR, 6 * HOUR, DAY), 180 * DAY)
RULES = ProjectionRules(LOOKS, 800 * DAY)
USER, ACCOUNT = uuid4(), uuid7()
BY_OWNER = import_module("analytics.migrations.versions.0009_what_its_owner_told").BY_OWNER
SCOPES = ["user.info.basic", "user.info.stats", "video.list"]
FOLLOWED = ("state", "state_sequence", "attempt", "progress", "published_at", "tiktok_video_id", "error_code", "lateness_ms")


def account(kind: type[accounts.AccountEvent], sequence: int, *, at: datetime = NOW, **changes: Any) -> Envelope:
    whose = {"account_id": ACCOUNT, "user_id": USER, "tiktok_user_id": "o", "username": "ada", "display_name": "Ada"}
    counts = {"follower_count": 10 * sequence, "following_count": 2, "likes_count": 3, "video_count": 4}
    fields = {"status": "active", "scopes": SCOPES, "reconnected": False, "synced_at": at, "reason": "x"}
    return told(kind.model_validate(whose | counts | fields | changes), whose["account_id"], sequence, at)


def life_of(post_id: UUID, *, published_at: datetime = NOW - 2 * HOUR, video_id: str | None = "73") -> list[Envelope]:
    """Return what is told of a post that was scheduled, failed once, was tried again and went live."""
    begin = published_at - HOUR
    common = {"post_id": post_id, "account_id": ACCOUNT, "scheduled_time": published_at}
    of_job = {"post_id": post_id, "account_id": ACCOUNT, "job_id": uuid7(), "replica": "publisher-1"}
    due = {
        "user_id": USER,
        "due_at": published_at,
        "publish_before": published_at + DAY,
        "mode": "direct",
        "transfer": "upload",
    }
    content = {"content": {"title": "a", "privacy_level": "PUBLIC_TO_EVERYONE"}}
    started = {"due_at": published_at, "started_at": published_at, "lateness_ms": 2.5}
    error = {"code": "tiktok_unavailable", "message": "Away.", "retryable": True, "next_attempt_at": published_at}
    live = {"publish_id": "p", "outcome": "published", "published_at": published_at, "tiktok_video_id": video_id}
    states: list[tuple[type[Event], dict[str, Any], int]] = [
        (scheduler.PostScheduled, {**common, "status": "scheduled", "attempt": 0}, 1),
        (scheduler.PostDue, {**common, **due, **content, "status": "due", "attempt": 1}, 2),
        (publisher.PublishStarted, {**of_job, **started, "attempt": 1}, 1),
        (publisher.PublishFailed, {**of_job, **error, "attempt": 1}, 2),
        (scheduler.PostRetryScheduled, {**common, **error, "status": "retry_scheduled", "attempt": 1}, 3),
        (scheduler.PostDue, {**common, **due, **content, "status": "due", "attempt": 2}, 4),
        (publisher.PublishStarted, {**of_job, **started, "lateness_ms": 1.5, "attempt": 2}, 3),
        (publisher.PublishSubmitted, {**of_job, "publish_id": "p", "attempt": 2}, 4),
        (publisher.PublishSucceeded, {**of_job, **live, "attempt": 2}, 5),
        (scheduler.PostPublished, {**common, **live, "status": "published", "attempt": 2}, 5),
    ]
    times = [begin + timedelta(seconds=number) for number in range(len(states))]
    return [
        told(kind.model_validate(fields), post_id, sequence, at)
        for (kind, fields, sequence), at in zip(states, times, strict=True)
    ]


def told(event: Event, subject: UUID, sequence: int, at: datetime) -> Envelope:
    service = event.KEY.partition(".")[0]
    return wrap(event, service=service, subject=str(subject), context=Context(user_id=USER), sequence=sequence, time=at)


@pytest.fixture
async def database(migrated_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    opened = Database(await migrated_database("analytics"), application_name="test")
    yield opened
    await opened.stop()


async def record(database: Database, envelopes: Sequence[Envelope]) -> None:
    async with database.transaction() as tx:
        await record_events(tx, [decode(envelope) for envelope in envelopes])


async def project(database: Database, *, limit: int = 1_000, now: datetime = NOW) -> Projected:
    async with database.transaction() as tx:
        return await project_events(tx, RULES, now=now, limit=limit)


async def project_all(database: Database, *, limit: int = 1_000) -> None:
    while (await project(database, limit=limit)).more:
        pass


async def rows(database: Database, table: str) -> list[dict[str, Any]]:
    async with database.read() as connection:
        found = (await connection.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2"))).mappings()
        return [dict(row) for row in found]


async def copies(database: Database) -> list[list[dict[str, Any]]]:
    """All that the trail alone decides."""
    tables = [await rows(database, name) for name in ("stats_accounts", "stats_posts", "account_snapshots", "account_days")]
    for row in tables[0]:
        row["snapshot_due_at"] = row["snapshot_due_at"] is not None
    return tables


async def test_a_post_and_its_account_are_copied(database: Database) -> None:
    post_id = uuid7()
    await record(database, [account(accounts.AccountConnected, 1), *life_of(post_id)])
    assert (await project(database)).accounts_changed
    (post,) = await rows(database, "stats_posts")
    assert [post[name] for name in FOLLOWED] == ["published", 5, 2, None, NOW - 2 * HOUR, "73", None, 2.5]
    assert (post["post_id"], post["user_id"], post["account_id"]) == (post_id, USER, ACCOUNT)
    assert (post["placed_at"], post["heard_at"]) == (NOW - 2 * HOUR, NOW - 3 * HOUR)
    assert post["metrics_due_at"] == NOW + 4 * HOUR, "the age of an hour has passed: the next one is six hours"
    (copy,) = await rows(database, "stats_accounts")
    assert (copy["status"], copy["scopes"], copy["sequence"]) == ("active", SCOPES, 1)
    assert copy["snapshot_due_at"] is not None
    assert await project(database) == Projected(), "there is nothing more"


async def test_a_post_under_way_shows_how_far_it_is(database: Database) -> None:
    post_id = uuid7()
    seen = []
    for envelope in life_of(post_id, video_id=None):
        await record(database, [envelope])
        await project(database)
        (post,) = await rows(database, "stats_posts")
        seen.append((post["state"], post["progress"], post["attempt"], post["error_code"], post["metrics_due_at"]))
    assert seen == [
        ("scheduled", None, 0, None, None),
        ("due", None, 1, None, None),
        ("due", "publishing", 1, None, None),
        ("due", None, 1, None, None),
        ("retry_scheduled", None, 1, None, None),
        ("due", None, 2, None, None),
        ("due", "publishing", 2, None, None),
        ("due", "processing", 2, None, None),
        ("due", None, 2, None, None),
        ("published", None, 2, None, None),
    ]


async def test_events_in_another_order_and_twice_change_nothing(
    database: Database, migrated_database: Callable[[str], Awaitable[str]]
) -> None:
    posts = [uuid7() for _ in range(30)]
    ordered = [envelope for post_id in posts for envelope in life_of(post_id)]
    ordered += [
        account(accounts.AccountConnected, 1, at=NOW - 3 * HOUR),
        account(accounts.AccountSynced, 2, at=NOW - 2 * HOUR),
        account(accounts.AccountSynced, 3, at=NOW - 2 * HOUR + timedelta(seconds=1)),
        account(accounts.AccountUpdated, 4, at=NOW - HOUR, status="inactive"),
    ]
    shuffled = ordered * 2
    random.Random(3).shuffle(shuffled)
    other = Database(await migrated_database("analytics"), application_name="test")
    try:
        for target, envelopes, limit in ((database, ordered, 1_000), (other, shuffled, 7)):
            for start in range(0, len(envelopes), 50):
                await record(target, envelopes[start : start + 50])
                await project_all(target, limit=limit)
        assert await copies(other) == await copies(database)
    finally:
        await other.stop()


async def test_measures_in_events_are_snapshots_of_their_hour(database: Database) -> None:
    old = NOW - 400 * DAY
    await record(
        database,
        [
            account(accounts.AccountSynced, 2, at=old),
            account(accounts.AccountConnected, 1, at=old + timedelta(seconds=1)),
            account(accounts.AccountUpdated, 3, at=NOW),
            account(accounts.AccountSynced, 4, at=NOW - 801 * DAY),
            account(accounts.AccountSynced, 5, at=NOW - HOUR, scopes=["user.info.basic"]),
        ],
    )
    await project(database)
    (snapshot,) = await rows(database, "account_snapshots")
    assert (snapshot["collected_at"], snapshot["follower_count"]) == (old, 20), "the first of the hour, whatever came first"
    (day,) = await rows(database, "account_days")
    assert (day["day"], day["follower_count"]) == (old.date(), 10)


async def test_an_account_is_due_while_it_may_be_looked_at(database: Database) -> None:
    due = []
    for number, (kind, changes) in enumerate(
        [
            (accounts.AccountConnected, {"scopes": ["user.info.basic"]}),
            (accounts.AccountConnected, {}),
            (accounts.AccountUpdated, {"status": "inactive"}),
            (accounts.AccountUpdated, {}),
            (accounts.AccountExpired, {"status": "expired"}),
            (accounts.AccountConnected, {}),
            (accounts.AccountDisconnected, {}),
        ],
        start=1,
    ):
        await record(database, [account(kind, number, **changes)])
        await project(database)
        (copy,) = await rows(database, "stats_accounts")
        due.append(copy["snapshot_due_at"] is not None)
    assert due == [False, True, False, True, False, True, False]
    assert copy["status"] == "disconnected"


async def test_a_turn_that_is_known_stays_when_the_account_is_told_of_again(database: Database) -> None:
    await record(database, [account(accounts.AccountConnected, 1)])
    await project(database)
    later = NOW + HOUR
    async with database.transaction() as tx:
        await tx.connection.execute(text("UPDATE stats_accounts SET snapshot_due_at = :at"), {"at": later})
    await record(database, [account(accounts.AccountSynced, 2)])
    await project(database)
    assert [row["snapshot_due_at"] for row in await rows(database, "stats_accounts")] == [later]


async def test_events_that_are_only_told_again_are_passed_over(database: Database) -> None:
    post_id = uuid7()
    (scheduled, due, *_) = life_of(post_id)
    again = due.model_copy(update={"id": uuid7(), "data": due.data | {"again": True}, "sequence": "0000000009"})
    await record(database, [scheduled, again])
    assert await project(database) == Projected(1, False, False)
    assert [row["state"] for row in await rows(database, "stats_posts")] == ["scheduled"]
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT seq FROM projection")) == 2


async def test_one_replica_at_a_time_reads(database: Database) -> None:
    await record(database, life_of(uuid7()))
    await project(database, limit=2)
    async with database.transaction() as first:
        assert await projection.take_place(first.driver) is not None
        assert await project(database) == Projected()
    assert (await project(database)).records == 8


async def test_replicas_that_race_from_the_first_record_on_make_each_copy_once(database: Database) -> None:
    posts = [uuid7() for _ in range(100)]
    await record(database, [envelope for post_id in posts for envelope in life_of(post_id)])
    loops = [Projector(database, RULES, accounts_changed=lambda: None, limit=37) for _ in range(3)]
    await asyncio.gather(*(loop.start() for loop in loops))

    async def done() -> bool:
        states = [row["state"] for row in await rows(database, "stats_posts")]
        return states == ["published"] * 100

    await eventually(done)
    await asyncio.gather(*(loop.stop() for loop in loops))
    assert [loop._failures for loop in loops] == [0, 0, 0]


def documented(beginning: str) -> list[str]:
    """Return the statements that operators are told of."""
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    (block,) = [block for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if beginning in block]
    return [one.strip() for one in re.sub("--.*", "", block).split(";") if one.strip() not in {"", "BEGIN", "COMMIT"}]


@pytest.mark.parametrize(("beginning", "wrong"), [("to read it again", False), ("to make copies anew", True)])
async def test_copies_made_anew_from_the_trail_are_the_same(database: Database, beginning: str, wrong: bool) -> None:
    """Also their counters, which the measures tell; and what the trail does not hold any more stays."""
    posts = [uuid7() for _ in range(20)]
    published_at = NOW - 3 * DAY
    await record(database, [account(accounts.AccountConnected, 1)])
    await record(database, [one for post_id in posts for one in life_of(post_id, published_at=published_at)])
    await project(database)
    measured = (
        "INSERT INTO post_metrics SELECT post_id, CAST(:at AS timestamptz) + age * interval '1 hour', age * 10, age, 1, 2"
        " FROM stats_posts, unnest(ARRAY[1, 25, 49]) age;"
    )
    latest = (
        "UPDATE stats_posts SET view_count = 490, like_count = 49, comment_count = 1, share_count = 2, day_views = 250,"
        " measured_at = CAST(:at AS timestamptz) + interval '49 hours'"
    )
    async with database.transaction() as tx:
        for statement in (measured, latest):
            await tx.connection.execute(text(statement), {"at": published_at})
        outlived = (
            "INSERT INTO stats_posts (post_id, user_id, state, heard_at, placed_at) VALUES (:id, :id, 'failed', :at, :at)"
        )
        await tx.connection.execute(text(outlived), {"id": uuid7(), "at": NOW - 500 * DAY})
    before = await copies(database)
    async with database.transaction() as tx:
        if wrong:
            await tx.connection.execute(
                text("UPDATE stats_posts SET state = 'due', heard_at = now() WHERE heard_at > :at"), {"at": NOW - 400 * DAY}
            )
        for statement in documented(beginning):
            await tx.connection.execute(text(statement))
    await project_all(database, limit=11)
    assert await copies(database) == before


@pytest.mark.parametrize(("hours", "by_owner"), [(36, False), (25, True)])
async def test_a_measure_that_came_too_late_or_after_its_owners_word_is_not_restored_as_that_of_the_first_day(
    database: Database, hours: int, by_owner: bool
) -> None:
    *life, published = life_of(uuid7(), published_at=NOW - 3 * DAY)
    await record(database, [*life, published.model_copy(update={"data": {**published.data, "by_owner": by_owner}})])
    await project(database)
    measure = "INSERT INTO post_metrics SELECT post_id, CAST(:at AS timestamptz), 7, 7, 7, 7 FROM stats_posts"
    async with database.transaction() as tx:
        await tx.connection.execute(text(measure), {"at": NOW - 3 * DAY + hours * HOUR})
        for table in ("projection", "stats_posts"):
            await tx.connection.execute(text(f"DELETE FROM {table}"))
    await project(database)
    assert [(row["view_count"], row["day_views"]) for row in await rows(database, "stats_posts")] == [(7, None)]
    # As copies stand that an earlier version made.
    async with database.transaction() as tx:
        await tx.connection.execute(text("UPDATE stats_posts SET published_by_owner = false, day_views = 7"))
        await tx.connection.execute(text(BY_OWNER))
    (copy,) = await rows(database, "stats_posts")
    assert (copy["published_by_owner"], copy["day_views"]) == (by_owner, None if by_owner else 7)


async def test_what_came_through_the_broker_shuffled_and_twice_is_copied(analytics: Any) -> None:
    posts = [uuid7() for _ in range(20)]
    envelopes = [envelope for post_id in posts for envelope in life_of(post_id)] * 2
    random.Random(5).shuffle(envelopes)
    await analytics.tell(*envelopes)
    await analytics.stored_exactly(200)

    async def copied() -> bool:
        found = await rows(analytics.database, "stats_posts")
        return [tuple(row[name] for name in FOLLOWED) for row in found] == [
            ("published", 5, 2, None, NOW - 2 * HOUR, "73", None, 2.5)
        ] * 20

    await eventually(copied)
