"""Migrations on a database that is in use."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from common.database.migrate import MigrationBlocked, upgrade

pytestmark = pytest.mark.integration

PEOPLE = """
INSERT INTO users (id, email, email_key, username, password_hash, timezone) VALUES (gen_random_uuid(), 'a', 'a', 'a', 'x', 'UTC');
INSERT INTO tiktok_accounts (id, user_id, open_id, username, display_name, search_text, status, scopes, version, disconnected_at)
SELECT gen_random_uuid(), id, 'o' || n, 'u', 'u', 'u', (array['active', 'inactive', 'expired', 'active'])[n], '{}', 1,
    CASE WHEN n = 4 THEN now() END
FROM users, generate_series(1, 4) AS n;
INSERT INTO account_tokens (account_id, pair_id, access_token_sealed, refresh_token_sealed, obtained_at, refresh_due_at, expires_at,
    refresh_expires_at)
SELECT id, gen_random_uuid(), 'a', 'r', now(), now() + interval '110 minutes', now() + interval '2 hours',
    now() + interval '180 days' FROM tiktok_accounts;
"""
PLANNED = """
SELECT open_id, next_refresh_at BETWEEN obtained_at + interval '98 minutes' AND refresh_due_at AS in_time, refresh_failures
FROM account_tokens JOIN tiktok_accounts ON tiktok_accounts.id = account_id ORDER BY open_id
"""


async def test_pairs_that_were_there_are_planned_where_their_account_lives(
    empty_database: Callable[[str], Awaitable[str]],
) -> None:
    url = await empty_database("accounts_before_refreshing")
    await upgrade("accounts", url, "0001")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(PEOPLE)
        await upgrade("accounts", url)
        planned = {row["open_id"]: (row["in_time"], row["refresh_failures"]) for row in await connection.fetch(PLANNED)}
    finally:
        await connection.close()
    assert planned == {"o1": (True, 0), "o2": (True, 0), "o3": (None, 0), "o4": (None, 0)}


NAMED = """
INSERT INTO users (id, email, email_key, username, password_hash, timezone) VALUES (gen_random_uuid(), 'a', 'a', 'a', 'x', 'UTC');
INSERT INTO tiktok_accounts (id, user_id, open_id, username, display_name, search_text, status, scopes, version)
SELECT gen_random_uuid(), id, 'o' || n, 'N' || n, CASE WHEN n % 2 = 0 THEN E'\\u0141ukasz \\u00d8re' ELSE E'Jos\\u00e9' END,
    CASE WHEN n % 2 = 0 THEN E'n' || n || E' \\u0142ukasz \\u00f8re' ELSE 'n' || n || ' jose' END, 'active', '{}', 1
FROM users, generate_series(1, 2100) AS n;
"""


async def test_what_is_searched_in_is_folded_again(empty_database: Callable[[str], Awaitable[str]]) -> None:
    """More accounts than one batch takes; what was right stays untouched."""
    url = await empty_database("accounts_before_folding")
    await upgrade("accounts", url, "0005")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(NAMED)
        written = await connection.fetchval("SELECT max(xmin::text) FROM tiktok_accounts")
        await upgrade("accounts", url, "0006")
        rows = await connection.fetch(
            "SELECT substr(open_id, 2)::int AS n, search_text, xmin::text AS by FROM tiktok_accounts"
        )
    finally:
        await connection.close()
    assert len(rows) == 2100
    for row in rows:
        folded = "lukasz ore" if row["n"] % 2 == 0 else "jose"
        assert row["search_text"] == f"n{row['n']} {folded}"
        assert (row["by"] == written) is (row["n"] % 2 == 1)


async def test_a_table_in_use_is_not_waited_for_without_end(empty_database: Callable[[str], Awaitable[str]]) -> None:
    """Whoever asks for it after the migration would wait as well; what was begun is undone, and can be done again."""
    url = await empty_database("accounts_in_use")
    await upgrade("accounts", url, "0005")
    user = await asyncpg.connect(url)
    try:
        using = user.transaction()
        await using.start()
        await user.execute("SELECT FROM tiktok_accounts")
        with pytest.raises(MigrationBlocked, match="nothing was changed"):
            await asyncio.wait_for(upgrade("accounts", url, lock_patience=0.5), 60)
        assert await user.fetchval("SELECT version_num FROM alembic_version") == "0005"
        await using.rollback()
        await upgrade("accounts", url)
        assert await user.fetchval("SELECT version_num FROM alembic_version") > "0005"
    finally:
        await user.close()
