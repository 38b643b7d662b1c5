"""Schema, readiness, retention, settings: what an operator relies on."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import ValidationError
from sqlalchemy import Connection

from accounts.loops.retention import Retention
from accounts.settings import Settings
from accounts.storage.tables import metadata
from common.database import Database
from common.settings import problems_of

pytestmark = pytest.mark.integration


async def test_migrations_make_the_tables_the_code_uses(database_url: Callable[[str], Awaitable[str]]) -> None:
    database = Database(await database_url("accounts"), application_name="test")

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await database.stop()


async def test_a_running_service_is_ready(accounts: Any) -> None:
    answer = await accounts.http.get("/readyz")
    assert answer.status_code == 200, answer.text
    checks = answer.json()["checks"]
    assert {"database", "broker", "Relay", "retention", "UserTokenVerifier"} <= set(checks)
    accounts.parts.keys._signing = None
    assert (await accounts.http.get("/readyz")).status_code == 503


async def test_what_has_outlived_its_use_is_removed_and_nothing_else(accounts: Any) -> None:
    people = [await accounts.register() for _ in range(5)]
    await accounts.login("nobody@example.com", "a wrong guess")
    for person in people:
        await accounts.http.get("/internal/tiktok/auth/url", headers=person.auth)
        await accounts.http.post("/internal/auth/api-keys", json={"name": "k", "scopes": ["posts:read"]}, headers=person.auth)
    tables = ("oauth_states", "refresh_tokens", "sessions", "api_keys", "login_throttles")

    async def counts() -> list[int]:
        return [await accounts.scalar(f"SELECT count(*) FROM {table}") for table in tables]

    before = await counts()
    retention = Retention(accounts.database, batch=2)
    assert (await retention._remove()).done == 0
    assert await counts() == before
    kept = people[0].user_id
    for statement in (
        f"UPDATE oauth_states SET expires_at = now() - interval '1 second' WHERE user_id <> '{kept}'",
        f"UPDATE sessions SET expires_at = now() - interval '8 days' WHERE user_id <> '{kept}'",
        f"UPDATE api_keys SET revoked_at = now() - interval '91 days' WHERE user_id <> '{kept}'",
        "UPDATE refresh_tokens SET expires_at = sessions.expires_at FROM sessions WHERE sessions.id = session_id",
        "UPDATE login_throttles SET last_failed_at = now() - interval '16 minutes'",
    ):
        await accounts.execute(statement)
    for _ in range(4):
        await retention._remove()
    assert await counts() == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(("days", "left"), [(1, 2), (7, 2), (10, 3)])
async def test_replies_are_kept_as_long_as_is_set_and_webhooks_a_week(start: Any, days: int, left: int) -> None:
    # The service's own loop may look meanwhile: it keeps them as long.
    accounts = await start(reply_retention_days=days)
    for age in (1, 6, 9, 11):
        await accounts.execute(
            "INSERT INTO inbox_messages (consumer, message_id, received_at)"
            f" VALUES ('commands', gen_random_uuid(), now() - interval '{age} days')"
        )
    await Retention(accounts.database, replies_kept=timedelta(days=days))._remove()
    assert await accounts.scalar("SELECT count(*) FROM inbox_messages") == left


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encryption_key", ""),
        ("encryption_key", "canary-not-a-key"),
        ("encryption_key", ","),
        ("tiktok_client_key", ""),
        ("tiktok_api_url", "canary-open.tiktokapis.com"),
        ("database_url", "mysql://canary@x/y"),
        ("access_token_ttl_seconds", 0),
        ("revocation_patience_seconds", 10),
    ],
)
def test_malformed_settings_are_named_and_not_shown(settings: Settings, name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**(dict(settings) | {name: value}))
    lines = problems_of(caught.value)
    assert [line.partition(":")[0] for line in lines] == [name.upper()]
    assert "canary" not in " ".join(lines)


def test_key_lists_are_read_in_their_order(settings: Settings, encryption_key: str) -> None:
    twice = Settings(**(dict(settings) | {"encryption_key": f"{encryption_key} , {encryption_key}"}))
    assert [key.get_secret_value() for key in twice.encryption_keys] == [encryption_key] * 2
