"""A new encryption key while the service runs: everything is sealed again and nothing newer is lost."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from accounts.rotate_encryption_key import Resealer, lines_of, parse_arguments, rotate
from accounts.security.vault import Vault
from accounts.storage.account_tokens import find_pair
from accounts.storage.sealed_values import read_sealed, replace_sealed, sealed_tables
from accounts.storage.tables import account_tokens
from accounts.usecases import reseal as usecase
from accounts.usecases.rotate_signing_keys import rotate_signing_keys
from tiktok_simulator.personas import CreatorInput

pytestmark = pytest.mark.integration
CREATORS = 3


def new_encryption_key() -> str:
    return Fernet.generate_key().decode()


def vault_of(*keys: str) -> Vault:
    return Vault([SecretStr(key) for key in keys])


async def fill(accounts: Any) -> list[Any]:
    """Make rows in every table with something sealed."""
    person = await accounts.register()
    ids = []
    for number in range(CREATORS):
        accounts.simulator.state.creators.upsert(CreatorInput(username=f"creator{number}"))
        ids.append(await accounts.connect(person, f"creator{number}"))
    await accounts.http.get("/internal/tiktok/auth/url", headers=person.auth)
    async with accounts.database.transaction() as tx:
        await rotate_signing_keys(tx, accounts.parts.vault, overlap=timedelta(hours=1), token_life=timedelta(days=1))
    return ids


async def secrets_of(accounts: Any, vault: Vault) -> dict[str, list[str]]:
    async with accounts.database.read() as connection:
        found = {table.name: await read_sealed(connection, table, after=None, limit=100) for table in sealed_tables()}
    return {
        name: [vault.open(value).get_secret_value() for row in rows for value in row.values] for name, rows in found.items()
    }


async def test_everything_is_sealed_again_and_the_old_key_can_go(accounts: Any, encryption_key: str) -> None:
    await fill(accounts)
    new = new_encryption_key()
    before = await secrets_of(accounts, vault_of(encryption_key))
    counts = await Resealer(accounts.database, vault_of(new, encryption_key), batch=2).run()
    assert {name: (table.resealed, table.left) for name, table in counts.items()} == {
        "account_tokens": (CREATORS, 0),
        "oauth_states": (1, 0),
        "signing_keys": (2, 0),
    }
    assert await secrets_of(accounts, vault_of(new)) == before
    again = await Resealer(accounts.database, vault_of(new, encryption_key)).run()
    assert {name: (table.resealed, table.fresh, table.left) for name, table in again.items()} == {
        "account_tokens": (0, CREATORS, 0),
        "oauth_states": (0, 1, 0),
        "signing_keys": (0, 2, 0),
    }
    text = "\n".join(lines_of(counts))
    assert text.endswith("Nothing needs an older key any more: they can be removed.")
    assert new not in text
    assert encryption_key not in text


async def test_a_run_that_was_cut_off_is_taken_up(accounts: Any, encryption_key: str, monkeypatch: Any) -> None:
    await fill(accounts)
    vault = vault_of(new_encryption_key(), encryption_key)
    original, calls = usecase.replace_sealed, 0

    async def dies(connection: Any, table: Any, *arguments: Any) -> bool:
        nonlocal calls
        calls += table is account_tokens
        if calls == 3:
            raise KeyError("killed")
        return bool(await original(connection, table, *arguments))

    monkeypatch.setattr(usecase, "replace_sealed", dies)
    with pytest.raises(KeyError):
        await Resealer(accounts.database, vault, batch=2).run()
    checked = await Resealer(accounts.database, vault).check()
    assert (checked["account_tokens"].fresh, checked["account_tokens"].changed) == (2, CREATORS - 2), "whole batches stay"
    monkeypatch.undo()
    counts = await Resealer(accounts.database, vault, batch=2).run()
    assert (counts["account_tokens"].resealed, counts["account_tokens"].left) == (CREATORS - 2, 0)
    assert all(table.left == 0 for table in (await Resealer(accounts.database, vault).check()).values())


async def test_a_refresh_between_reading_and_replacing_keeps_the_newer_pair(
    start: Any, encryption_key: str, monkeypatch: Any
) -> None:
    new = new_encryption_key()
    accounts = await start(encryption_key=f"{encryption_key},{new}")
    account_id = await accounts.connect(await accounts.register())
    original, newest = usecase.replace_sealed, ""

    async def late(connection: Any, table: Any, row: Any, values: Sequence[bytes]) -> bool:
        nonlocal newest
        if table is account_tokens and not newest:
            await accounts.make_refresh_due(account_id, seconds_left=1)
            newest = (await accounts.access_token(account_id)).json()["access_token"]
        return bool(await original(connection, table, row, values))

    monkeypatch.setattr(usecase, "replace_sealed", late)
    counts = await Resealer(accounts.database, vault_of(new, encryption_key)).run()
    assert newest
    assert all(table.left == 0 for table in counts.values())
    async with accounts.database.read() as connection:
        pair = await find_pair(connection, account_id)
    assert vault_of(new).open(pair.access_token).get_secret_value() == newest
    await accounts.make_refresh_due(account_id, seconds_left=1)
    assert (await accounts.access_token(account_id)).status_code == 200, "its refresh token is the newest too"


async def test_refreshes_and_sealing_again_at_the_same_time_lose_nothing(start: Any, encryption_key: str) -> None:
    new = new_encryption_key()
    accounts = await start(encryption_key=f"{new},{encryption_key}")
    ids = await fill(accounts)
    for table in sealed_tables():
        async with accounts.database.transaction() as tx:
            for row in await read_sealed(tx.connection, table, after=None, limit=100):
                old = [vault_of(encryption_key).seal(vault_of(new).open(value)) for value in row.values]
                assert await replace_sealed(tx.connection, table, row, old)

    async def refresh(account_id: Any) -> None:
        for _ in range(2):
            await accounts.make_refresh_due(account_id, seconds_left=1)
            assert (await accounts.access_token(account_id)).status_code == 200

    async def again_and_again() -> None:
        for _ in range(5):
            await Resealer(accounts.database, vault_of(new, encryption_key), batch=1).run()

    await asyncio.gather(*(refresh(account_id) for account_id in ids), again_and_again())
    assert all(table.left == 0 for table in (await Resealer(accounts.database, vault_of(new)).run()).values())
    for account_id in ids:
        async with accounts.database.read() as connection:
            pair = await find_pair(connection, account_id)
        token = vault_of(new).open(pair.access_token).get_secret_value()
        assert accounts.simulator.state.grants.access(token) is not None
        await accounts.make_refresh_due(account_id, seconds_left=1)
        assert (await accounts.access_token(account_id)).status_code == 200


async def test_a_replica_that_seals_with_the_old_key_keeps_it_from_being_removed(
    accounts: Any, encryption_key: str, monkeypatch: Any
) -> None:
    """Every look finds rows sealed by the old key: it must not be said that the key can go."""
    await fill(accounts)
    new = new_encryption_key()
    original = usecase.replace_sealed

    async def undone(connection: Any, table: Any, row: Any, values: Sequence[bytes]) -> bool:
        old = [vault_of(encryption_key).seal(vault_of(new).open(value)) for value in values]
        return bool(await original(connection, table, row, old))

    monkeypatch.setattr(usecase, "replace_sealed", undone)
    counts = await Resealer(accounts.database, vault_of(new, encryption_key)).run()
    assert all(table.left for table in counts.values())
    assert "Older keys are still needed" in lines_of(counts)[-1]


async def test_what_no_key_opens_is_counted_and_left_alone(accounts: Any, encryption_key: str) -> None:
    await fill(accounts)
    before = await secrets_of(accounts, vault_of(encryption_key))
    counts = await Resealer(accounts.database, vault_of(new_encryption_key())).run()
    assert (counts["account_tokens"].unreadable, counts["account_tokens"].left) == (CREATORS, CREATORS)
    assert "Unreadable" in lines_of(counts)[-1]
    assert await secrets_of(accounts, vault_of(encryption_key)) == before


async def test_the_audit_trail_hears_of_it_in_numbers(accounts: Any, encryption_key: str) -> None:
    await fill(accounts)
    told: list[Any] = []

    async def tell(*arguments: Any) -> None:
        told.append(arguments)

    new = new_encryption_key()
    resealer = Resealer(accounts.database, vault_of(new, encryption_key))
    await rotate(resealer, SimpleNamespace(tell=tell))  # type: ignore[arg-type]
    details = {"account_tokens": {"resealed": CREATORS, "left": 0}, "oauth_states": {"resealed": 1, "left": 0}}
    assert told == [
        ("encryption_key_rotated", "encryption_key", details | {"signing_keys": {"resealed": 2, "left": 0}}),
    ]


def test_the_command_takes_one_option() -> None:
    assert parse_arguments([]).check is False
    assert parse_arguments(["--check"]).check is True
    with pytest.raises(SystemExit):
        parse_arguments(["--force"])


def test_every_sealed_column_is_found() -> None:
    assert {table.name for table in sealed_tables()} == {"account_tokens", "oauth_states", "signing_keys"}
