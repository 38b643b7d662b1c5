"""Migrations on a database that is in use."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from common.database.migrate import upgrade

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
