"""Statistics of 1,000 accounts with two years of hourly snapshots, and of a user with 365,000 posts in a year: within 100 ms."""

import os
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from analytics.usecases.roll_up_post_days import roll_up_post_days
from bench.figures import Figure, measure, show
from bench.programs import accounts_and_gateway, analytics_of
from common.database import Database
from common.database.migrate import upgrade
from common.testing.databases import TestDatabases
from common.testing.http_server import free_port
from common.testing.servers import TestServers

GOAL_MS = 100.0
TRIAL = bool(os.environ.get("BENCH_TRIAL"))
NUMBER = 20 if TRIAL else 300
DAYS = 60 if TRIAL else 730
ACCOUNTS = 20 if TRIAL else 1_000
MINE, OTHERS, USERS = (20_500, 10_000, 10) if TRIAL else (365_000, 1_000_000, 100)
MEASURED_POSTS, MEASURES = (100, 100) if TRIAL else (10_000, 100)
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
YEAR = timedelta(days=366)

SNAPSHOTS = """
INSERT INTO account_snapshots (account_id, hour, collected_at, follower_count, following_count, likes_count, video_count)
SELECT account_id, hour, hour + interval '7 minutes', n, n % 500, n * 9, n % 300
FROM generate_series($2::timestamptz, $3::timestamptz - interval '1 hour', interval '1 hour') WITH ORDINALITY AS hours (hour, n),
     unnest($1::uuid[]) AS account_id
"""
DAY_ROLL_UP = """
INSERT INTO account_days (account_id, day, collected_at, follower_count, following_count, likes_count, video_count)
SELECT account_id, day::date, day + interval '23 hours 7 minutes', n, n % 500, n * 9, n % 300
FROM generate_series($2::timestamp, $3::timestamp, interval '1 day') WITH ORDINALITY AS days (day, n),
     unnest($1::uuid[]) AS account_id
"""
POSTS = """
INSERT INTO stats_posts (post_id, user_id, account_id, state, placed_at, published_at, error_code, lateness_ms, view_count,
                         like_count, comment_count, share_count, measured_at, day_views)
SELECT gen_random_uuid(), u, a, state, at, CASE WHEN state = 'published' THEN at + interval '3 seconds' END,
       CASE WHEN state = 'failed' THEN 'tiktok_' || n % 20 END, exp(random() * 6), n, n, n, n, at + interval '30 hours',
       CASE WHEN state = 'published' THEN (random() * 100000)::bigint END
FROM generate_series(1, $4) AS n, LATERAL (
    SELECT ($1::uuid[])[1 + n % cardinality($1::uuid[])] AS u, ($2::uuid[])[1 + n % cardinality($2::uuid[])] AS a,
           (ARRAY['published', 'published', 'failed', 'cancelled', 'published', 'unconfirmed', 'published'])[1 + n % 7] AS state,
           $3::timestamptz - (n * interval '365 days' / $4) AS at
) AS made
"""
MEASURES_OF_POSTS = """
INSERT INTO post_metrics (post_id, collected_at, view_count, like_count, comment_count, share_count)
SELECT post_id, published_at + n * interval '6 hours', n * 100, n, n, n
FROM (SELECT post_id, published_at FROM stats_posts WHERE user_id = $1 AND published_at IS NOT NULL AND published_at < $2
      ORDER BY published_at DESC LIMIT $3) AS post, generate_series(1, $4) AS n
"""
Call = Callable[[], Awaitable[None]]


async def run(servers: TestServers) -> None:
    """Fill databases of its own, measure through analytics and through the gateway, print the tables."""
    databases = TestDatabases(servers.postgres_url)
    try:
        accounts_db, analytics_db = await databases.create("bench"), await databases.migrated("analytics")
        await upgrade("accounts", accounts_db)
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            async with (
                accounts_and_gateway(accounts_db, servers.rabbitmq_url, Path(folder), analytics_port=port) as (
                    accounts,
                    gateway,
                    keys,
                ),
                httpx.AsyncClient(timeout=30, trust_env=False) as http,
            ):
                many, few = [await _person(http, accounts, keys, name) for name in ("many", "few")]
                ids = await _fill(databases.as_owner(analytics_db), UUID(many["id"]), UUID(few["id"]))
                await _roll_up(analytics_db)
                async with analytics_of(analytics_db, servers.rabbitmq_url, accounts, keys, port) as analytics:
                    for name, base in (
                        ("analytics itself", f"{analytics}/internal/analytics"),
                        ("through the gateway", f"{gateway}/api/v1/analytics"),
                    ):
                        figures = await _measure(http, base, many["auth"], few["auth"], ids)
                        show(f"{ACCOUNTS:,} accounts, {DAYS} days of hours, {MINE:,} posts, {name}", figures, goal_ms=GOAL_MS)
    finally:
        await databases.drop_all()


async def _person(http: httpx.AsyncClient, accounts: str, keys: Any, name: str) -> dict[str, Any]:
    body = {"email": f"{name}@example.com", "username": name, "password": "correct horse battery"}
    sign = keys.authorization("gateway", "accounts")
    answer = await http.post(f"{accounts}/internal/auth/register", json=body, headers=sign)
    auth = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    me = await http.get(f"{accounts}/internal/auth/me", headers=auth)
    return {"id": me.raise_for_status().json()["id"], "auth": auth}


async def _fill(url: str, many: UUID, few: UUID) -> dict[str, UUID]:
    connection = await asyncpg.connect(url)
    try:
        ids = [
            record["id"]
            for record in await connection.fetch("SELECT gen_random_uuid() AS id FROM generate_series(1, $1)", ACCOUNTS)
        ]
        await connection.executemany(
            "INSERT INTO stats_accounts (account_id, user_id, sequence, status, scopes) VALUES ($1, $2, 1, 'active', '{}')",
            [(account_id, many) for account_id in ids],
        )
        await _snapshots(connection, ids)
        others = [
            record["id"]
            for record in await connection.fetch("SELECT gen_random_uuid() AS id FROM generate_series(1, $1)", USERS)
        ]
        for users, number in ((others, OTHERS), ([many], MINE), ([few], 100)):
            await connection.execute(POSTS, users, ids, END, number, timeout=1_200)
        await connection.execute(MEASURES_OF_POSTS, many, END - timedelta(days=30), MEASURED_POSTS, MEASURES, timeout=600)
        for table in ("account_snapshots", "account_days", "stats_accounts", "stats_posts", "post_metrics"):
            await connection.execute(f"VACUUM ANALYZE {table}", timeout=1_200)
        post = await connection.fetchval("SELECT post_id FROM post_metrics LIMIT 1")
        return {"account": ids[len(ids) // 2], "post": post}
    finally:
        await connection.close()


async def _snapshots(connection: asyncpg.Connection, ids: list[UUID]) -> None:
    first = (END - timedelta(days=DAYS)).replace(hour=0)
    month = first.replace(day=1)
    while month < END + timedelta(days=31):
        after = (month + timedelta(days=32)).replace(day=1)
        for table in ("account_snapshots", "post_metrics"):
            await connection.execute("SELECT public.add_statistics_month($1, $2)", table, month.date())
        begin, end = max(first, month), min(END, after)
        if begin < end:
            await connection.execute(SNAPSHOTS, ids, begin, end, timeout=1_200)
        month = after
    await connection.execute(DAY_ROLL_UP, ids, first.replace(tzinfo=None), END.replace(tzinfo=None), timeout=1_200)


async def _roll_up(url: str) -> None:
    database = Database(url, application_name="bench", pool_size=1)
    done = -1
    while done:
        async with database.transaction() as tx:
            done = await roll_up_post_days(tx, rested=timedelta(0), limit=200)
    async with database.read() as connection:
        await connection.exec_driver_sql("ANALYZE stats_post_days")
    await database.stop()


async def _measure(
    http: httpx.AsyncClient, base: str, many: dict[str, str], few: dict[str, str], ids: dict[str, UUID]
) -> list[Figure]:
    def get(path: str, auth: dict[str, str] = many, *, since: timedelta | None = None, **params: str) -> Call:
        if since is not None:
            params |= {"from": (END - since).isoformat(), "to": END.isoformat()}

        async def call() -> None:
            (await http.get(base + path, params=params, headers=auth)).raise_for_status()

        return call

    history = f"/accounts/{ids['account']}/history"
    quarter, two_years = timedelta(days=92), timedelta(days=730)
    calls = {
        "stats": get(f"/accounts/{ids['account']}/stats"),
        "hours of 7 days": get(history, interval="hour"),
        "hours of 92 days": get(history, interval="hour", since=quarter),
        "the same in Kolkata": get(history, interval="hour", since=quarter, timezone="Asia/Kolkata"),
        "the same as CSV": get(history, interval="hour", since=quarter, timezone="Asia/Kolkata", format="csv"),
        "days of 90 days": get(history),
        "days of 2 years": get(history, since=two_years),
        "the same in New York": get(history, since=two_years, timezone="America/New_York"),
        "days of 10 years in Kolkata": get(history, since=timedelta(days=3_660), timezone="Asia/Kolkata"),
        "a post's curve": get(f"/posts/{ids['post']}"),
        "overview of 30 days": get("/overview"),
        f"overview of a year, {MINE:,} posts": get("/overview", since=YEAR),
        "the same by the hours of New York": get("/overview", since=YEAR, timezone="America/New_York"),
        "overview of a year, 100 posts": get("/overview", few, since=YEAR),
    }
    return [await measure(label, call, number=NUMBER) for label, call in calls.items()]
