"""Lists of TikTok accounts, of one user with 10,000 and one with 3, among many others: within 150 ms."""

import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from bench.figures import Figure, measure, show
from bench.programs import accounts_and_gateway
from common.database.migrate import upgrade
from common.testing.databases import TestDatabases
from common.testing.servers import TestServers

GOAL_MS = 150.0
NUMBER = 300
MINE, FEW, OTHERS, USERS = 10_000, 3, 1_000_000, 1_000

SEED = """
INSERT INTO tiktok_accounts (id, user_id, open_id, username, display_name, search_text, status, scopes, version,
                             follower_count, video_count)
SELECT uuidv7(), u, md5(u::text || n), name || n, initcap(name) || ' ' || n, name || n || ' ' || name || ' ' || n,
       (ARRAY['active', 'active', 'active', 'inactive', 'expired'])[1 + n % 5], '{video.publish}', 1, n, n % 50
FROM (SELECT $1::uuid[] AS ids) AS given, generate_series(1, $2) AS n,
     LATERAL (SELECT ids[1 + n % cardinality(ids)] AS u,
              (ARRAY['maria','jose','cocina','viajes','musica',U&'\\0438\\0432\\0430\\043d'])[1 + n % 6]
              || substr(md5(n::text), 1, 6) AS name) AS made
"""
TOKENS = """
INSERT INTO account_tokens (account_id, pair_id, access_token_sealed, refresh_token_sealed, obtained_at, refresh_due_at, expires_at,
                            refresh_expires_at)
SELECT id, gen_random_uuid(), 'sealed', 'sealed', now(), now() + interval '30 days', now() + interval '30 days',
       now() + interval '1 year'
FROM tiktok_accounts WHERE status <> 'expired'
"""
REFUSALS = """
INSERT INTO account_refusals (account_id, mode, code, message, refused_at)
SELECT id, 'direct', 'spam_risk_user_banned_from_posting', 'TikTok does not let this account post.', now()
FROM tiktok_accounts WHERE follower_count % 10 = 0
"""
"""What the lists show of each account: how long its tokens last, and what TikTok refuses of it."""
PEOPLE = """
INSERT INTO users (id, email, email_key, username, password_hash, timezone)
SELECT uuidv7(), n || '@example.com', n || '@example.com', 'other' || n, 'none', 'UTC' FROM generate_series(1, $1) AS n
RETURNING id
"""
Call = Callable[[], Awaitable[None]]


async def run(servers: TestServers) -> None:
    """Fill a database of its own, measure through accounts and through the gateway, print the tables."""
    databases = TestDatabases(servers.postgres_url)
    try:
        url = await databases.create("bench")
        await upgrade("accounts", url)
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            async with (
                accounts_and_gateway(url, servers.rabbitmq_url, Path(folder)) as (accounts, gateway, keys),
                httpx.AsyncClient(timeout=30, trust_env=False) as http,
            ):
                sign = keys.authorization("gateway", "accounts")
                many, few = [await _person(http, accounts, sign, name) for name in ("many", "few")]
                await _fill(url, many["id"], few["id"])
                for name, base in (
                    ("accounts itself", f"{accounts}/internal/accounts"),
                    ("through the gateway", f"{gateway}/api/v1/accounts"),
                ):
                    figures = await _measure(http, base, many["auth"], few["auth"])
                    show(f"{MINE:,} accounts of one user among {OTHERS:,}, {name}", figures, goal_ms=GOAL_MS)
    finally:
        await databases.drop_all()


async def _person(http: httpx.AsyncClient, accounts: str, sign: Mapping[str, str], name: str) -> dict[str, Any]:
    body = {"email": f"{name}@example.com", "username": name, "password": "correct horse battery"}
    answer = await http.post(f"{accounts}/internal/auth/register", json=body, headers=dict(sign))
    auth = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    me = await http.get(f"{accounts}/internal/auth/me", headers=auth)
    return {"id": me.raise_for_status().json()["id"], "auth": auth}


async def _fill(url: str, many: str, few: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        people = [record["id"] for record in await connection.fetch(PEOPLE, USERS)]
        for ids, number in ((people, OTHERS), ([many], MINE), ([few], FEW)):
            await connection.execute(SEED, ids, number, timeout=1_200)
        for more in (TOKENS, REFUSALS, "VACUUM ANALYZE tiktok_accounts, account_tokens, account_refusals"):
            await connection.execute(more, timeout=1_200)
    finally:
        await connection.close()


async def _measure(http: httpx.AsyncClient, base: str, many: dict[str, str], few: dict[str, str]) -> list[Figure]:
    def get(auth: dict[str, str], path: str = "", **params: str | int) -> Call:
        async def call() -> None:
            (await http.get(base + path, params=params, headers=auth)).raise_for_status()

        return call

    deep = await _deep_cursor(http, base, many)
    calls = {
        "plain, limit 20": get(many),
        "plain, limit 50": get(many, limit=50),
        "status=inactive": get(many, status="inactive"),
        "deep cursor (9,500 in)": get(many, limit=50, cursor=deep),
        "search of a sixth, `maria`": get(many, search="maria"),
        "search of one, `maria` and number": get(many, search="maria0"),
        "search of none": get(many, search="nobody at all"),
        "search of 2 characters": get(many, search="jo"),
        "search of a sixth, 1 Cyrillic letter": get(many, search="\u0412"),
        "search of one, Cyrillic and number": get(many, search="\u0418\u0412\u0410\u041d0"),
        "search of 1 Han character, none": get(many, search="\u7530"),
        "search and status": get(many, search="cocina", status="active"),
        "summary": get(many, "/stats/summary"),
        "user with 3: plain": get(few),
        "user with 3: search": get(few, search="maria"),
        "user with 3: search of 1 character": get(few, search="m"),
    }
    return [await measure(label, call, number=NUMBER) for label, call in calls.items()]


async def _deep_cursor(http: httpx.AsyncClient, base: str, auth: dict[str, str]) -> str:
    cursor: str | None = None
    for _ in range(190):
        params: dict[str, str | int] = {"limit": 50} | ({} if cursor is None else {"cursor": cursor})
        cursor = (await http.get(base, params=params, headers=auth)).raise_for_status().json()["cursor"]
    if cursor is None:
        raise RuntimeError("the list ended early")
    return cursor
