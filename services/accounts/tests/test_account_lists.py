"""Lists of many accounts: which index serves them, totals beyond the cap, the summary, and the migration that brought the index."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import AccountStatus
from accounts.domain.profile import Profile, search_pieces, search_text
from accounts.storage.account_reads import AccountFilter, count_accounts, list_accounts
from accounts.storage.account_writes import insert_account
from common.database.migrate import upgrade
from common.ids import uuid7
from common.testing.plans import Plan, plans_of

pytestmark = pytest.mark.integration
LIST = "/internal/accounts"
SEARCH_INDEX = "ix_tiktok_accounts_search_connected"

FILL = """
INSERT INTO tiktok_accounts (id, user_id, open_id, username, display_name, search_text, status, scopes, version)
SELECT gen_random_uuid(), '{user}', '{user}' || n, 'name' || n, 'x', 'name' || n || ' ' || substr(md5('{user}' || n), 1, 12),
       (ARRAY['active', 'inactive'])[1 + n % 2], '{{}}', 1 FROM generate_series(1, {number}) AS n
"""
FILL_TOKENS = """
INSERT INTO account_tokens (account_id, pair_id, access_token_sealed, refresh_token_sealed, obtained_at, refresh_due_at,
                            expires_at, refresh_expires_at)
SELECT id, id, '', '', now(), now() + interval '1 day', now() + interval '1 day', now() + interval '1 year' FROM tiktok_accounts
"""


async def store(accounts: Any, user_id: UUID, username: str, display_name: str = "x") -> UUID:
    account_id = uuid7()
    profile = Profile(open_id=str(uuid4()), username=username, display_name=display_name)
    async with accounts.database.transaction() as tx:
        await insert_account(tx.connection, account_id, user_id, profile, ["video.publish"])
    return account_id


async def searched(accounts: Any, user_id: UUID, search: str) -> list[Plan]:
    """Return how PostgreSQL finds a user's accounts: for the first page of a list, another one, and the total."""
    chosen = AccountFilter(user_id, search=search)

    async def ask(connection: AsyncConnection) -> None:
        await list_accounts(connection, chosen, limit=21, before=None)
        await list_accounts(connection, chosen, limit=21, before=IN_THE_MIDDLE)
        await count_accounts(connection, chosen, cap=10_001)

    plans = await plans_of(accounts.database, ask)
    assert len(plans) == 6
    return plans


def is_by_text(plan: Plan) -> bool:
    """Tell whether nothing but the index is asked for the accounts, and the index for the text."""
    of_accounts = {name: condition for name, condition in plan.indexes.items() if "tiktok_accounts" in name}
    return list(of_accounts) == [SEARCH_INDEX] and "search_pieces" in of_accounts[SEARCH_INDEX] and not plan.whole_tables


IN_THE_MIDDLE = UUID(int=2**127)
"""Of the ids of `FILL`, which are random."""
NAMES = {
    "cyrillic": "\u0418\u0432\u0430\u043d \u041f\u0435\u0442\u0440\u043e\u0432",
    "greek": "\u0393\u03b9\u03ce\u03c1\u03b3\u03bf\u03c2",
    "han": "\u7530\u4e2d\u592a\u90ce",
    "outside the first plane": "\U00020bb7\u91ce\u5bb6",
    "kana": "\u304c\u304e\u3050",
    "hangul": "\ud55c\uad6d\uc5b4",
    "thai": "\u0e44\u0e17\u0e22\u0e41\u0e25\u0e49\u0e27",
    "arabic": "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f",
    "devanagari": "\u0939\u093f\u0928\u094d\u0926\u0940",
    "accents": "Jos\u00e9 \u00c5ngstr\u00f6m",
    "signs": "100%_\\o/",
    "emoji": "Maria \U0001f98a",
}
SEARCHES = (
    ("\u0418\u0412\u0410\u041d", "cyrillic"),
    ("\u043f\u0435\u0442", "cyrillic"),
    ("\u043f", "cyrillic"),
    ("\u0413\u0418\u03a9\u03a1\u0393\u039f\u03a3", None),
    ("\u0393\u0399\u03a9\u03a1\u0393\u039f\u03a3", "greek"),
    ("\u03c9\u03c1", "greek"),
    ("\u7530", "han"),
    ("\u592a\u90ce", "han"),
    ("\u7530\u592a", None),
    ("\U00020bb7", "outside the first plane"),
    ("\u304b\u304d", "kana"),
    ("\u304c", "kana"),
    ("\ud55c", "hangul"),
    ("\u0e41\u0e25\u0e27", "thai"),
    ("\u0e17\u0e22", "thai"),
    ("\u0645\u062d\u0645\u062f", "arabic"),
    ("\u0939\u093f", "devanagari"),
    ("jose", "accents"),
    ("ANGSTRO\u0308M", "accents"),
    ("s\u00e9 \u00c5", "accents"),
    ("%_", "signs"),
    ("\\O/", "signs"),
    ("\U0001f98a", "emoji"),
)


async def test_an_index_serves_every_search_in_any_script(accounts: Any) -> None:
    """One user with 10,000, one with few, and others: the pieces of the text are asked for, of one user."""
    many, few = await accounts.register(), await accounts.register()
    crowd = [await accounts.register() for _ in range(3)]
    await accounts.execute(FILL.format(user=many.user_id, number=10_050))
    await accounts.execute(FILL.format(user=few.user_id, number=3))
    for person in crowd:
        await accounts.execute(FILL.format(user=person.user_id, number=5_000))
    ids = {name: await store(accounts, many.user_id, f"tt{place}", shown) for place, (name, shown) in enumerate(NAMES.items())}
    for name, shown in NAMES.items():
        await store(accounts, crowd[0].user_id, f"tt{name}", shown)
    await accounts.execute(FILL_TOKENS)
    async with accounts.database.read() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE tiktok_accounts, account_tokens")
    for search, found in SEARCHES:
        for plan in await searched(accounts, many.user_id, search):
            assert is_by_text(plan), (search, plan)
        page = (await accounts.http.get(LIST, params={"search": search}, headers=many.auth)).json()
        assert [UUID(item["id"]) for item in page["items"]] == ([ids[found]] if found else []), search
        assert page["total"] == len(page["items"])
    for search in ("name7777", "nobody at all", "77a", "q"):
        for plan in await searched(accounts, many.user_id, search):
            assert is_by_text(plan), (search, plan)
    for search in ("n", "77", "a.b", "name7777", NAMES["han"]):
        for plan in await searched(accounts, few.user_id, search):
            assert not plan.whole_tables, (search, plan)
    await capped_total_and_short_search(accounts, many, len(NAMES))


async def capped_total_and_short_search(accounts: Any, many: Any, named: int) -> None:
    page = (await accounts.http.get(LIST, params={"limit": 50}, headers=many.auth)).json()
    assert (page["total"], page["total_is_capped"], len(page["items"])) == (10_000, True, 50)
    page = (await accounts.http.get(LIST, params={"status": "inactive"}, headers=many.auth)).json()
    assert (page["total"], page["total_is_capped"]) == (5_025, False)
    page = (await accounts.http.get(LIST, params={"search": "name1004", "status": "active"}, headers=many.auth)).json()
    assert (page["total"], len(page["items"]), page["has_more"]) == (6, 6, False)
    summary = (await accounts.http.get(f"{LIST}/stats/summary", headers=many.auth)).json()
    assert (summary["total_accounts"], summary["active_accounts"]) == (10_050 + named, 5_025 + named)


async def test_the_database_cuts_texts_as_searches_are_cut(accounts: Any) -> None:
    """Whatever is part of a text has only pieces that the text has, in letters of one to four bytes."""
    text = search_text("\u0418\u0432\u0430\u043d_\u7530\u4e2d \U00020bb7\u91ce\u5bb6\u0e44\u0e17\u0e22 a%\\b")
    async with accounts.database.read() as connection:
        cut = set((await connection.exec_driver_sql("SELECT search_pieces($1)", (text,))).scalar_one())
        nothing = (await connection.exec_driver_sql("SELECT search_pieces('')")).scalar_one()
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            assert cut.issuperset(search_pieces(text[start:end])), text[start:end]
    assert nothing == []


async def test_any_script_and_any_sign_is_found(accounts: Any) -> None:
    person = await accounts.register()
    names = {
        "ivan": "\u0418\u0432\u0430\u043d \u041f\u0435\u0442\u0440\u043e\u0432",
        "tanaka": "\u7530\u4e2d\u592a\u90ce",
        "back": "C:\\temp\\x",
        "strasse": "Stra\u00dfe",
        "wide": "\uff24\uff2f\uff27",
        "dressed": "\U0001d400\U0001d41d\U0001d41a \U0001d4db\U0001d4f8\U0001d4ff\U0001d4ee",
        "stroke": "\u0141ukasz \u00d8re",
    }
    ids = {name: await store(accounts, person.user_id, name, shown) for name, shown in names.items()}
    for search, found in (
        ("\u0418\u0412\u0410\u041d", "ivan"),
        ("\u043f", "ivan"),
        ("\u592a", "tanaka"),
        ("\\temp\\", "back"),
        ("\\", "back"),
        ("STRASSE", "strasse"),
        ("dog", "wide"),
        ("tan", "tanaka"),
        ("ada", "dressed"),
        ("LOVE", "dressed"),
        ("lukasz", "stroke"),
        ("\u00d8RE", "stroke"),
        ("\u0301", None),
        ("\u200d\ufe0f", None),
        ("\u00b4", None),
    ):
        page = (await accounts.http.get(LIST, params={"search": search}, headers=person.auth)).json()
        assert [UUID(item["id"]) for item in page["items"]] == ([ids[found]] if found else []), search
        assert page["total"] == len(page["items"])
    for search in ("", " ", "\u3000"):
        page = (await accounts.http.get(LIST, params={"search": search}, headers=person.auth)).json()
        assert page["total"] == len(ids), "nothing was asked for"


async def test_the_summary_counts_the_users_connected_accounts(accounts: Any) -> None:
    person, other = await accounts.register(), await accounts.register()
    empty = (await accounts.http.get(f"{LIST}/stats/summary", headers=person.auth)).json()
    assert empty == {"total_accounts": 0, "active_accounts": 0, "total_followers": 0, "total_videos": 0}
    ids = [await store(accounts, person.user_id, f"a{number}") for number in range(5)]
    await store(accounts, other.user_id, "b")
    await accounts.execute("UPDATE tiktok_accounts SET follower_count = 3000000000, video_count = 7")
    for account_id, status in zip(ids, (*AccountStatus, "active"), strict=False):
        await accounts.execute(f"UPDATE tiktok_accounts SET status = '{status}' WHERE id = '{account_id}'")
    await accounts.execute(f"UPDATE tiktok_accounts SET disconnected_at = now() WHERE id = '{ids[4]}'")
    asked: list[str] = []
    listen(accounts.database.engine.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    found = (await accounts.http.get(f"{LIST}/stats/summary", headers=person.auth)).json()
    assert found == {"total_accounts": 4, "active_accounts": 2, "total_followers": 12_000_000_000, "total_videos": 28}
    assert len([statement for statement in asked if "tiktok_accounts" in statement]) == 1
    await accounts.execute(f"UPDATE tiktok_accounts SET follower_count = {2**63 - 1}")
    found = (await accounts.http.get(f"{LIST}/stats/summary", headers=person.auth)).json()
    assert found["total_followers"] == 2**63 - 1
    key = {"name": "k", "scopes": ["posts:read"]}
    made = (await accounts.http.post("/internal/auth/api-keys", json=key, headers=person.auth)).json()["key"]
    exchanged = await accounts.http.post("/internal/api-keys/exchange", json={"key": made}, headers=accounts.gateway)
    bearer = {"Authorization": f"Bearer {exchanged.json()['access_token']}"}
    assert (await accounts.http.get(f"{LIST}/stats/summary", headers=bearer)).status_code == 403
    assert (await accounts.http.get(f"{LIST}/stats/summary")).status_code == 401


async def test_a_database_with_accounts_is_migrated_by_its_own_role(
    empty_database: Callable[[str], Awaitable[str]], postgres_url: str
) -> None:
    """As a stack provisions it: a role without any right but to own its database; extensions need no superuser."""
    url = await empty_database("rights")
    name, role = url.rsplit("/", 1)[1], f"role_{uuid7().hex[-12:]}"
    server = await asyncpg.connect(postgres_url)
    try:
        await server.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD 'x'")
        await server.execute(f'ALTER DATABASE "{name}" OWNER TO {role}; REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        address = url.split("://", 1)[1].rsplit("@", 1)[-1]
        own = f"postgresql://{role}:x@{address}"
        await upgrade("accounts", own, "0002")
        connection = await asyncpg.connect(own)
        user, account = uuid7(), uuid7()
        await connection.execute(
            "INSERT INTO users (id, email, email_key, username, password_hash, timezone) VALUES ($1, 'a', 'a', 'a', 'a', 'UTC')",
            user,
        )
        insert = (
            "INSERT INTO tiktok_accounts (id, user_id, open_id, username, display_name, search_text, status, scopes, version)"
            " VALUES ($1, $2, 'o', 'jose', 'Jos\u00e9', 'jose jose', 'active', '{}', 1)"
        )
        await connection.execute(insert, account, user)
        await upgrade("accounts", own)
        await connection.execute("SET enable_seqscan = off; SET enable_indexscan = off")
        query = (
            "SELECT id FROM tiktok_accounts WHERE user_id = $1 AND search_pieces @> '{jo,os,se}' AND disconnected_at IS NULL"
        )
        assert await connection.fetchval(query, user) == account
        await connection.close()
    finally:
        await server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await server.execute(f"DROP ROLE IF EXISTS {role}")
        await server.close()
