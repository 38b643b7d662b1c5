"""Claiming on real PostgreSQL: none early, none twice, complete with its outbox or not at all."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from common.clock import utc_now
from common.contracts.registry import parse
from common.contracts.scheduler import PostDue, PostFailed
from common.ids import uuid7
from common.testing.eventually import eventually
from scheduler.storage.claim import FIRST_CLAIM, ClaimLimits, seconds_to_next_due
from scheduler.storage.posts import to_post
from scheduler.storage.sweep import SWEEP
from scheduler.storage.tables import posts
from scheduler.usecases.claim_due_posts import claim_due_posts

pytestmark = pytest.mark.integration
LIMITS = ClaimLimits()


async def _claimed_one(world: Any) -> bool:
    return bool((await world.claim()).posts == 1)


async def test_a_claimed_post_carries_all_the_publisher_needs(world: Any) -> None:
    user_id = uuid7()
    media_id = await world.media(user_id, duration_ms=900)
    post = await world.post(
        user_id=user_id, media_id=media_id, correlation_id="c-1", is_aigc=True, cover_timestamp_ms=5, photo_urls=[], version=4
    )
    assert (await world.claim()).posts == 1
    now = await world.reload(post)
    assert (now.status, now.attempt, now.version, now.next_attempt_at) == ("due", 1, 5, None)
    assert now.due_at == post.next_attempt_at
    assert now.sweep_at is not None
    assert now.sweep_at > utc_now()
    (envelope,) = await world.told()
    due = parse(envelope, PostDue)
    assert (envelope.subject, envelope.sequence_number, envelope.userid) == (str(post.id), 5, user_id)
    assert (envelope.correlationid, envelope.actor) == ("c-1", "service:scheduler")
    assert (due.post_id, due.user_id, due.account_id, due.attempt) == (post.id, user_id, post.account_id, 1)
    assert (due.due_at, due.publish_before) == (post.next_attempt_at, post.publish_before)
    assert due.content.model_dump() == {
        "title": "hello",
        "privacy_level": "PUBLIC_TO_EVERYONE",
        "disable_comment": False,
        "disable_duet": False,
        "disable_stitch": False,
        "brand_content_toggle": False,
        "brand_organic_toggle": False,
        "is_aigc": True,
        "cover_timestamp_ms": 5,
        "photo_title": None,
        "photo_cover_index": 0,
        "auto_add_music": False,
    }
    assert due.media is not None
    assert (due.media.media_id, due.media.storage_key, due.media.duration_ms) == (media_id, "media/a.mp4", 900)


async def test_the_options_of_photos_are_handed_over(world: Any) -> None:
    urls = ["https://photos.example.com/1.jpg", "https://photos.example.com/2.jpg"]
    await world.post(photo_urls=urls, mode="inbox", photo_title="Two", photo_cover_index=1, auto_add_music=True)
    assert (await world.claim()).posts == 1
    (envelope,) = await world.told()
    due = parse(envelope, PostDue)
    assert (due.photo_urls, due.mode, due.media) == (urls, "inbox", None)
    content = due.content
    assert (content.photo_title, content.photo_cover_index, content.auto_add_music) == ("Two", 1, True)


async def test_a_row_that_makes_no_event_fails_alone(world: Any) -> None:
    """A fault in one row (written by another version, or by hand) stops neither its neighbours nor the loop."""
    bad, good = await world.post(privacy_level="NOBODY", attempt=2), await world.post()
    assert (await world.claim()).posts == 2
    assert (await world.reload(good)).status == "due"
    failed = await world.reload(bad)
    assert (failed.status, failed.error_code, failed.attempt) == ("failed", "internal_error", 2)
    assert (failed.sweep_at, failed.ended_at is None, failed.version) == (None, False, bad.version + 1)
    told = {envelope.subject: envelope for envelope in await world.told()}
    assert parse(told[str(good.id)], PostDue).attempt == 1
    event = parse(told[str(bad.id)], PostFailed)
    assert (event.code, event.status, event.attempt) == ("internal_error", "failed", 2)
    assert told[str(bad.id)].sequence_number == failed.version
    assert (await world.claim()).posts == 0


async def test_none_early_by_the_databases_clock(world: Any) -> None:
    post = await world.post(next_attempt_at=utc_now() + timedelta(seconds=3))
    async with world.database.read_fast() as driver:
        seconds = await seconds_to_next_due(driver)
    assert seconds is not None
    assert 0 < seconds <= 3
    await eventually(lambda: _claimed_one(world), interval=0.005)
    async with world.database.read() as connection:
        row = await connection.execute(text("SELECT updated_at >= due_at FROM posts WHERE id = :id"), {"id": post.id})
        assert row.scalar_one() is True


@pytest.mark.parametrize(
    "fields",
    [
        {"held": True},
        {"status": "draft"},
        {"status": "due"},
        {"status": "cancelled"},
        {"status": "published"},
        {"next_attempt_at": None},
    ],
)
async def test_what_does_not_wait_is_not_claimed(world: Any, fields: dict[str, Any]) -> None:
    post = await world.post(**fields)
    assert (await world.claim()).posts == 0
    assert await world.reload(post) == post


async def test_a_retry_is_claimed_as_the_next_attempt(world: Any) -> None:
    post = await world.post(status="retry_scheduled", attempt=2, publisher_sequence=9, started_at=utc_now())
    await world.claim()
    now = await world.reload(post)
    assert (now.status, now.attempt, now.publisher_sequence, now.started_at) == ("due", 3, 0, None)


async def test_past_its_deadline_it_fails_instead(world: Any) -> None:
    post = await world.post(publish_before=utc_now() - timedelta(seconds=1), attempt=1)
    assert (await world.claim()).posts == 1
    now = await world.reload(post)
    assert (now.status, now.attempt, now.error_code, now.sweep_at) == ("failed", 1, "deadline_passed", None)
    assert now.ended_at is not None
    (envelope,) = await world.told()
    assert parse(envelope, PostFailed).code == "deadline_passed"


async def test_concurrent_claimers_double_nothing_and_leave_nothing(world: Any, values: Any) -> None:
    users = [uuid7() for _ in range(60)]
    await world.many([values(user_id=users[number % 60]) for number in range(1_500)])

    async def claimer() -> int:
        total = 0
        for _ in range(40):
            total += (await world.claim(ClaimLimits(batch=100))).posts
        return total

    taken = await asyncio.gather(*(claimer() for _ in range(4)))
    assert sum(taken) == 1_500
    told = await world.told()
    assert len({envelope.subject for envelope in told}) == len(told) == 1_500
    assert await world.counts() == {"due": 1_500}


async def test_the_claim_looks_files_up_one_by_one(world: Any) -> None:
    """However many files there are, it never reads them all (a hash join would)."""
    await world.execute(
        """
        INSERT INTO media (id, user_id, status, filename, content_type, size_bytes, sha256, storage_key)
        SELECT gen_random_uuid(), gen_random_uuid(), 'ready', 'a', 'video/mp4', 1, 'x', 'k' FROM generate_series(1, 3000)
        """
    )
    await world.execute(
        """
        INSERT INTO posts (id, user_id, media_id, status, mode, transfer, next_attempt_at, publish_before)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'scheduled', 'direct', 'upload',
          now() + n * interval '1 second', now() + interval '1 day' FROM generate_series(-5000, 5000) AS n
        """
    )
    for table in ("media", "posts"):
        await world.execute(f"ANALYZE {table}")
    sweep = {"again_after": timedelta(1), "at_most": timedelta(1), "batch": 500}
    given = {name: sweep[name] for name in text(SWEEP).compile().params}
    async with world.database.transaction() as tx:
        claim = await tx.driver.fetch(f"EXPLAIN {FIRST_CLAIM}", 500, 500, timedelta(1), "", "", "")
        swept = (await tx.connection.execute(text(f"EXPLAIN {SWEEP}"), given)).scalars().all()
    for plan in (str(claim), str(swept)):
        assert "media_pkey" in plan
        assert "Seq Scan on media" not in plan


async def _claim_and_hang(world: Any, claimed: asyncio.Event) -> None:
    async with world.database.transaction() as tx:
        await claim_due_posts(tx, world.outbox, LIMITS)
        claimed.set()
        await asyncio.Event().wait()


async def test_broken_off_before_the_commit_nothing_has_happened(world: Any) -> None:
    post = await world.post()
    claiming = asyncio.create_task(_claim_and_hang(world, claimed := asyncio.Event()))
    await claimed.wait()
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert await world.reload(post) == post
    assert await world.told() == []


async def test_after_the_commit_the_event_waits_in_the_outbox(world: Any) -> None:
    """The claim commits state and event together. That processes die between it and the relay: tests/test_servers_restart.py."""
    post = await world.post()
    await world.claim()
    assert (await world.reload(post)).status == "due"
    assert [envelope.subject for envelope in await world.told()] == [str(post.id)]
    assert (await world.claim()).posts == 0


async def test_only_due_rows_are_touched_among_many_waiting(world: Any) -> None:
    """The plan is an index scan of the due index that stops at the time; later posts cost nothing."""
    await world.execute(
        """
        INSERT INTO posts (id, user_id, account_id, status, mode, transfer, scheduled_time, next_attempt_at, publish_before)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'scheduled', 'direct', 'upload', t, t, t + interval '1 day'
        FROM generate_series(1, 20000) AS n, LATERAL (SELECT now() + interval '1 hour' + n * interval '1 second') AS at(t)
        """
    )
    connection = await asyncpg.connect(world.url)
    # What other tests have deleted is not what this one reads.
    await connection.execute("VACUUM ANALYZE posts", timeout=60)
    await connection.close()
    plan = """
        EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT id, user_id FROM posts
        WHERE status IN ('scheduled', 'retry_scheduled') AND NOT held AND next_attempt_at <= statement_timestamp()
        ORDER BY next_attempt_at LIMIT 500 FOR UPDATE SKIP LOCKED
    """
    async with world.database.transaction() as tx:
        explained = str(await tx.connection.scalar(text(plan)))
    assert "ix_posts_due" in explained
    assert "Seq Scan" not in explained
    assert "'Shared Hit Blocks': " in explained
    assert int(explained.split("'Shared Hit Blocks': ")[1].split(",", maxsplit=1)[0]) < 200


async def test_rows_of_the_table_and_the_dataclass_agree(world: Any) -> None:
    post = await world.post()
    async with world.database.read() as connection:
        row = (await connection.execute(posts.select().where(posts.c.id == post.id))).one()
    assert to_post(row) == post
    assert [column.name for column in posts.c] == list(type(post).__slots__)
    assert isinstance(post.id, UUID)
