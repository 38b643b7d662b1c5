"""Lists of many accounts: which index serves them, totals beyond the cap, the summary, and the migration that brought the index."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql

from accounts.domain.account import AccountStatus
from accounts.domain.profile import Profile, has_trigram, search_text
from accounts.storage.account_reads import AccountFilter, _accounts, _conditions
from accounts.storage.account_writes import insert_account
from common.database.migrate import upgrade
from common.ids import uuid7

pytestmark = pytest.mark.integration
LIST = "/internal/accounts"
SEARCH_INDEX = "ix_tiktok_accounts_search_connected"

FILL = """
INSERT INTO tiktok_accounts (id, user_id, open_id, username, display_name, search_text, status, scopes, version)
SELECT gen_random_uuid(), '{user}', '{user}' || n, 'name' || n, 'x', 'name' || n || ' ' || substr(md5('{user}' || n), 1, 12),
       (ARRAY['active', 'inactive'])[1 + n % 2], '{{}}', 1 FROM generate_series(1, {number}) AS n
"""


async def store(accounts: Any, user_id: UUID, username: str, display_name: str = "x") -> UUID:
    account_id = uuid7()
    profile = Profile(open_id=str(uuid4()), username=username, display_name=display_name)
    async with accounts.database.transaction() as tx:
        await insert_account(tx.connection, account_id, user_id, profile, ["video.publish"])
    return account_id


async def plan_of(accounts: Any, chosen: AccountFilter) -> tuple[set[str], bool]:
    """Return how PostgreSQL finds a filter's accounts: the indexes (or "Seq Scan"), and whether one is asked for the text."""
    statement = _accounts().where(*_conditions(chosen))
    text = statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    async with accounts.database.read() as connection:
        found = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}")).scalar_one()
    used: set[str] = set()
    conditions = []

    def walk(node: dict[str, Any]) -> None:
        if node.get("Relation Name") == "tiktok_accounts" and node["Node Type"] == "Seq Scan":
            used.add("Seq Scan")
        if "tiktok_accounts" in node.get("Index Name", ""):
            used.add(node["Index Name"])
            conditions.append(node.get("Index Cond", ""))
        for child in node.get("Plans", []):
            walk(child)

    walk((found if isinstance(found, list) else json.loads(found))[0]["Plan"])
    return used, any("search_text" in condition for condition in conditions)


async def test_an_index_serves_a_user_with_many_and_a_user_with_few(accounts: Any) -> None:
    many, few = await accounts.register(), await accounts.register()
    crowd = [await accounts.register() for _ in range(3)]
    await accounts.execute(FILL.format(user=many.user_id, number=10_050))
    await accounts.execute(FILL.format(user=few.user_id, number=3))
    for person in crowd:
        await accounts.execute(FILL.format(user=person.user_id, number=5_000))
    async with accounts.database.read() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE tiktok_accounts")
    for search in ("name7777", "nobody at all"):
        assert await plan_of(accounts, AccountFilter(many.user_id, search=search)) == ({SEARCH_INDEX}, True), search
    for person in (many, few):
        for search in ("n", "77", "a.b", "\u0438\u0432\u0430\u043d", "%%%"):
            used, asked_for_text = await plan_of(accounts, AccountFilter(person.user_id, search=search))
            assert not asked_for_text, "the index of everybody's texts would be read as a whole"
            assert used, search
            assert "Seq Scan" not in used or person is many, search
    assert "Seq Scan" not in (await plan_of(accounts, AccountFilter(few.user_id, search="name7777")))[0]
    await capped_total_and_short_search(accounts, many)


async def capped_total_and_short_search(accounts: Any, many: Any) -> None:
    page = (await accounts.http.get(LIST, params={"limit": 50}, headers=many.auth)).json()
    assert (page["total"], page["total_is_capped"], len(page["items"])) == (10_000, True, 50)
    page = (await accounts.http.get(LIST, params={"status": "inactive"}, headers=many.auth)).json()
    assert (page["total"], page["total_is_capped"]) == (5_025, False)
    page = (await accounts.http.get(LIST, params={"search": "name1004", "status": "active"}, headers=many.auth)).json()
    assert (page["total"], len(page["items"]), page["has_more"]) == (6, 6, False)
    summary = (await accounts.http.get(f"{LIST}/stats/summary", headers=many.auth)).json()
    assert (summary["total_accounts"], summary["active_accounts"]) == (10_050, 5_025)


@pytest.mark.parametrize(
    ("search", "indexed"),
    [
        ("jose", True),
        ("JOS\u00c9", True),
        ("jo", False),
        ("jo se", False),
        ("a_b.c", False),
        ("", False),
        ("\u0438\u0432\u0430\u043d", False),
    ],
)
def test_which_searches_the_index_can_serve(search: str, indexed: bool) -> None:
    assert has_trigram(search_text(search)) is indexed


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
    found = (await accounts.http.get(f"{LIST}/stats/summary", headers=person.auth)).json()
    assert found == {"total_accounts": 4, "active_accounts": 2, "total_followers": 12_000_000_000, "total_videos": 28}
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
        query = "SELECT id FROM tiktok_accounts WHERE user_id = $1 AND search_text LIKE '%jose%' AND disconnected_at IS NULL"
        assert await connection.fetchval(query, user) == account
        await connection.close()
    finally:
        await server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await server.execute(f"DROP ROLE IF EXISTS {role}")
        await server.close()
