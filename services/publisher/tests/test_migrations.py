"""Migrations on a database that is in use."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from common.database.migrate import upgrade

pytestmark = pytest.mark.integration

JOBS = """
INSERT INTO publish_jobs (id, post_id, attempt, account_id, state, step, sequence, run_at, lease_owner, reason)
SELECT gen_random_uuid(), gen_random_uuid(), n, gen_random_uuid(), CASE WHEN n = 4 THEN 'failed' ELSE 'running' END, 'token', n,
  CASE WHEN n < 4 THEN now() + interval '1 minute' END, CASE WHEN n = 3 THEN 'one' END,
  jsonb_build_object('code', (array['account_inactive', 'tiktok_quota', 'account_expired', 'account_expired'])[n])
FROM generate_series(1, 4) AS n;
"""


async def test_jobs_of_before_have_fetched_nothing(empty_database: Callable[[str], Awaitable[str]]) -> None:
    url = await empty_database("publisher_before_fetching")
    await upgrade("publisher", url, "publisher_0004")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(JOBS)
        await upgrade("publisher", url)
        rows = await connection.fetch("SELECT 1 FROM publish_jobs WHERE fetched IS NULL AND fetched_removed_at IS NULL")
    finally:
        await connection.close()
    assert len(rows) == 4


async def test_jobs_that_wait_are_found_by_what_they_wait_for(empty_database: Callable[[str], Awaitable[str]]) -> None:
    url = await empty_database("publisher_before_accounts")
    await upgrade("publisher", url, "publisher_0001")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(JOBS)
        await upgrade("publisher", url)
        account = await connection.fetch("SELECT attempt FROM publish_jobs WHERE awaits_account")
        quota = await connection.fetch("SELECT attempt, awaits_quota FROM publish_jobs WHERE awaits_quota IS NOT NULL")
    finally:
        await connection.close()
    assert [tuple(row) for row in account] == [(1,)]
    assert [tuple(row) for row in quota] == [(2, "init")]


UNKNOWN = """
INSERT INTO publish_jobs (id, post_id, attempt, post, state, step, sequence, run_at, polls, lane)
SELECT gen_random_uuid(), gen_random_uuid(), n, '{}', (array['unconfirmed', 'failed', 'running'])[n], 'polling', n,
  CASE WHEN n = 3 THEN now() + interval '1 hour' END, 9, 'send'
FROM generate_series(1, 3) AS n;
"""


async def test_outcomes_that_were_given_up_are_looked_at_again(empty_database: Callable[[str], Awaitable[str]]) -> None:
    url = await empty_database("publisher_before_late_truth")
    await upgrade("publisher", url, "publisher_0005")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(UNKNOWN)
        await upgrade("publisher", url)
        rows = await connection.fetch("SELECT attempt, polls, lane FROM publish_jobs WHERE run_at <= now()")
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [(1, 0, "follow")]
