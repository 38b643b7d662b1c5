"""A changed file of encryption keys is taken up by every replica without a restart."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from cryptography.fernet import Fernet
from pydantic import SecretStr, ValidationError

from accounts.app import wire
from accounts.held_keys_wait import replicas_hold
from accounts.loops import held_keys
from accounts.rotate_encryption_key import parse_arguments
from accounts.security.encryption_keys import fingerprint
from accounts.security.vault import SealBroken, Vault
from accounts.settings import Settings
from accounts.storage.encryption_key_holders import tell_held_keys
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
PATIENCE = 10.0


def put(path: Path, *keys: str) -> None:
    """Replace the file whole, as secrets are."""
    new = path.with_suffix(".new")
    new.write_text(",".join(keys) + "\n")
    new.replace(path)


def remove(path: Path) -> None:
    path.unlink()


def prints(*keys: str) -> tuple[str, ...]:
    return tuple(fingerprint(SecretStr(key)) for key in keys)


@pytest.fixture
def path(tmp_path: Path, encryption_key: str) -> Path:
    found = tmp_path / "encryption_key"
    put(found, encryption_key)
    return found


@pytest.fixture
def new() -> str:
    return Fernet.generate_key().decode()


async def test_two_replicas_take_a_changed_file_up_and_say_so(start: Any, path: Path, encryption_key: str, new: str) -> None:
    first = await start(encryption_key_file=path, service_instance="accounts-1")
    second = await start(encryption_key_file=path, service_instance="accounts-2")
    account_id = await first.connect(await first.register())

    async def held(*keys: str) -> list[str]:
        found = await replicas_hold(first.database, prints(*keys), replicas=2, seconds=PATIENCE)
        assert found.by_all, found.lines
        return found.lines

    await held(encryption_key)
    with structlog.testing.capture_logs() as logs:
        put(path, new, encryption_key)
        lines = await held(new, encryption_key)
    assert [line.split()[0] for line in lines] == ["accounts-1", "accounts-2"]
    taken = [entry for entry in logs if entry["event"] == "encryption_keys_taken_up"]
    assert [(entry["number"], entry["fingerprints"]) for entry in taken] == [(2, list(prints(new, encryption_key)))] * 2
    assert not any(key in f"{logs}{lines}" for key in (new, encryption_key))
    for replica in (first, second):
        assert (await replica.access_token(account_id)).status_code == 200, "what the old key sealed is still opened"
        assert Vault([SecretStr(new)]).open(replica.parts.vault.seal(SecretStr("x"))).get_secret_value() == "x"


async def test_a_replica_that_runs_with_other_keys_keeps_the_rotation_waiting(
    accounts: Any, encryption_key: str, new: str
) -> None:
    database, wanted = accounts.database, prints(encryption_key)
    assert (await replicas_hold(database, wanted, replicas=1, seconds=PATIENCE)).by_all
    assert not (await replicas_hold(database, wanted, replicas=2, seconds=0)).by_all, "one has not said anything yet"
    assert not (await replicas_hold(database, prints(new, encryption_key), replicas=1, seconds=0)).by_all
    async with database.transaction() as tx:
        await tell_held_keys(tx.connection, uuid4(), instance="accounts-9", fingerprints=prints(new), refused="no")
    found = await replicas_hold(database, wanted, replicas=1, seconds=0)
    assert not found.by_all
    assert found.lines[0].endswith("; no")
    await accounts.execute("UPDATE encryption_key_holders SET seen_at = now() - interval '21 s' WHERE instance = 'accounts-9'")
    assert (await replicas_hold(database, wanted, replicas=1, seconds=0)).by_all, "that one has died"


async def test_a_malformed_file_keeps_the_keys_and_turns_readiness_red(
    start: Any, path: Path, encryption_key: str, new: str
) -> None:
    accounts = await start(encryption_key_file=path)
    account_id = await accounts.connect(await accounts.register())
    for content, reason in ((f"{new},nonsense", "key 2 is not a Fernet key"), ("", "needs at least one key")):
        put(path, content)

        async def red(reason: str = reason) -> bool:
            answer = await accounts.http.get("/readyz")
            assert answer.status_code == 503
            assert reason in answer.json()["checks"]["encryption-keys"]["reason"]
            assert new not in answer.text
            return True

        await eventually(red)
        assert accounts.parts.vault.fingerprints == prints(encryption_key)
    remove(path)
    assert not accounts.parts.vault.look_again()
    assert (await accounts.access_token(account_id)).status_code == 200
    put(path, encryption_key, new)

    async def green() -> bool:
        return bool((await accounts.http.get("/readyz")).status_code == 200)

    await eventually(green)
    assert accounts.parts.vault.fingerprints == prints(encryption_key, new)


async def test_what_another_replica_sealed_with_a_newer_key_is_opened_at_once(
    start: Any, path: Path, new: str, encryption_key: str
) -> None:
    accounts = await start(encryption_key_file=path)
    sealed = Vault([SecretStr(new)]).seal(SecretStr("x"))
    with pytest.raises(SealBroken):
        accounts.parts.vault.open(sealed)
    put(path, new, encryption_key)
    assert accounts.parts.vault.open(sealed).get_secret_value() == "x", "it did not wait for the next look"


async def test_sighup_makes_it_look_at_once(start: Any, path: Path, new: str, encryption_key: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(held_keys, "LOOK_EVERY_SECONDS", 600.0)
    accounts = await start(encryption_key_file=path)
    assert (await replicas_hold(accounts.database, prints(encryption_key), replicas=1, seconds=PATIENCE)).by_all
    put(path, new, encryption_key)
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGHUP)
    assert (await replicas_hold(accounts.database, prints(new, encryption_key), replicas=1, seconds=PATIENCE)).by_all


async def test_a_replica_that_ends_holds_nothing(
    settings: Settings, running_service: Any, service_keys: Any, simulator: Any, encryption_key: str, start: Any
) -> None:
    async with running_service(wire(settings), service_keys, simulator) as first:
        assert (await replicas_hold(first.database, prints(encryption_key), replicas=1, seconds=PATIENCE)).by_all
    second = await start()
    assert not (await replicas_hold(second.database, prints(encryption_key), replicas=2, seconds=0)).by_all


def test_two_sources_that_differ_are_refused(settings: Settings, path: Path, new: str) -> None:
    with pytest.raises(ValidationError, match="set one of them"):
        Settings(**(dict(settings) | {"encryption_key": new, "encryption_key_file": path}))
    path.unlink()
    with pytest.raises(ValidationError, match="cannot be read"):
        Settings(**(dict(settings) | {"encryption_key_file": path}))


def test_keys_are_taken_whole_or_not_at_all(encryption_key: str) -> None:
    vault = Vault([SecretStr(encryption_key)])
    for keys in ([], [SecretStr("nonsense")]):
        with pytest.raises(ValueError, match="key"):
            vault.take(keys)
    assert vault.fingerprints == prints(encryption_key)


def test_the_command_waits_or_looks() -> None:
    options = parse_arguments(["--wait", "5", "--replicas", "2"])
    assert (options.wait, options.replicas) == (5.0, 2)
    with pytest.raises(SystemExit):
        parse_arguments(["--wait", "5", "--check"])
