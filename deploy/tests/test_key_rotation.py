"""Rotation of the local stack's encryption key: where it may end and be taken up, and that old keys stay while they are needed."""

import stat
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localstack import key_rotation
from localstack.blueprint import Blueprint
from localstack.errors import StackError
from localstack.key_rotation import PENDING, rotate_encryption_key
from localstack.paths import Paths
from localstack.ports import Ports
from localstack.stack import Stack
from localstack.steps import silent
from localstack.vault import load_secrets


@dataclass
class Replicas:
    """Stands for a stack with two replicas of accounts: records what is done, in order; `dies_at` ends it at that step."""

    paths: Paths
    blueprint: Blueprint
    done: list[tuple[str, ...]] = field(default_factory=list)
    dies_at: int = -1
    alive: bool = True

    @property
    def supervisor(self) -> Any:
        return SimpleNamespace(alive=lambda: self.alive)

    @property
    def ports(self) -> Ports:
        return self.blueprint.ports

    @property
    def secrets(self) -> dict[str, Any]:
        return load_secrets(self.paths)

    def exclusive(self) -> AbstractContextManager[None]:
        return nullcontext()

    def reread(self) -> None:
        """Nobody else changes this one."""

    def take_up(self) -> None:
        """Do what every replica does when the file has changed: read it."""
        keys = self.paths.encryption_key.read_text(encoding="utf-8").strip().split(",")
        for name in self.blueprint.processes("accounts"):
            self.step(name, *keys)

    def step(self, *what: str) -> None:
        if len(self.done) == self.dies_at:
            raise KeyboardInterrupt
        self.done.append(what)


@pytest.fixture
def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replicas:
    paths = Paths(tmp_path)
    paths.create()
    found = Replicas(paths, Blueprint(replicas={"accounts": 2}))
    monkeypatch.setattr(key_rotation, "_reseal", lambda *_: found.step("reseal"))
    monkeypatch.setattr(key_rotation, "_wait_for_replicas", lambda _: found.take_up())
    return found


def rotate(replicas: Replicas) -> None:
    rotate_encryption_key(replicas, silent)  # type: ignore[arg-type]


def test_every_replica_knows_the_new_key_before_any_seals_with_it(replicas: Replicas) -> None:
    old = replicas.secrets["encryption_key"]
    rotate(replicas)
    new = replicas.secrets["encryption_key"]
    assert new != old
    assert PENDING not in replicas.secrets
    each = [("accounts-1", "accounts-2")] * 3
    keys = [(old, new), (new, old), (new,)]
    rounds = [[(name, *known) for name in names] for names, known in zip(each, keys, strict=True)]
    assert replicas.done == [*rounds[0], *rounds[1], ("reseal",), *rounds[2]]


@pytest.mark.parametrize("dies_at", range(7))
def test_a_rotation_that_was_cut_off_is_taken_up_with_the_same_key(replicas: Replicas, dies_at: int) -> None:
    old = replicas.secrets["encryption_key"]
    replicas.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        rotate(replicas)
    new, stored = replicas.secrets[PENDING], replicas.secrets["encryption_key"].split(",")
    assert set(stored) <= {old, new}
    assert (old in stored) or ("reseal",) in replicas.done, "the old key stays until nothing needs it"
    replicas.dies_at = -1
    replicas.done.clear()
    rotate(replicas)
    assert replicas.secrets["encryption_key"] == new
    assert PENDING not in replicas.secrets
    after_the_seal = replicas.done.index(("reseal",))
    assert [keys[0] for _, *keys in replicas.done[after_the_seal - 2 : after_the_seal]] == [new, new]
    known_before = {name for name, *keys in replicas.done[:after_the_seal] if new in keys}
    assert known_before == {"accounts-1", "accounts-2"}


def test_the_old_key_stays_when_something_could_not_be_sealed_again(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replicas.secrets["encryption_key"]
    monkeypatch.undo()
    done = SimpleNamespace(returncode=0, stdout="", stderr="")
    failed = SimpleNamespace(returncode=1, stdout="account_tokens 1 unreadable\n", stderr="")
    monkeypatch.setattr(key_rotation, "operator_environment", lambda _: {})
    monkeypatch.setattr(key_rotation.subprocess, "run", lambda command, **_: done if "--wait" in command else failed)
    with pytest.raises(StackError, match="the old key stays"):
        rotate(replicas)
    assert replicas.secrets["encryption_key"].split(",")[1:] == [old]


def test_nothing_is_sealed_before_every_replica_has_taken_the_keys_up(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replicas.secrets["encryption_key"]
    monkeypatch.undo()
    waits: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        waits.append(command)
        return SimpleNamespace(returncode=1, stdout="accounts-2 holds 0123456789ab\n", stderr="")

    monkeypatch.setattr(key_rotation, "operator_environment", lambda _: {})
    monkeypatch.setattr(key_rotation.subprocess, "run", run)
    with pytest.raises(StackError, match=r"(?s)not every replica.*accounts-2 holds"):
        rotate(replicas)
    assert [command[-4:] for command in waits] == [["--wait", "60", "--replicas", "2"]]
    assert replicas.secrets["encryption_key"].split(",")[0] == old, "the old key seals on"


def test_a_command_that_died_between_secrets_and_file_is_made_good(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.create()
    keys = load_secrets(paths)["encryption_key"]
    paths.encryption_key.write_text("older\n", encoding="utf-8")
    load_secrets(paths)
    assert paths.encryption_key.read_text(encoding="utf-8") == f"{keys}\n"
    assert stat.S_IMODE(paths.encryption_key.stat().st_mode) == 0o600


def test_a_key_that_the_operator_holds_is_not_touched(replicas: Replicas) -> None:
    for name in ("ENCRYPTION_KEY", "ENCRYPTION_KEY_FILE"):
        given = Replicas(replicas.paths, Blueprint(environment={name: "x"}))
        with pytest.raises(StackError, match="is set by you"):
            rotate(given)
        assert given.done == []


def test_a_stack_that_was_never_started_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="make up"):
        rotate_encryption_key(Stack(tmp_path), silent)
    assert list(tmp_path.iterdir()) == []


def test_a_stack_that_does_not_run_is_left_alone(replicas: Replicas) -> None:
    before = replicas.secrets
    replicas.alive = False
    with pytest.raises(StackError, match="make up"):
        rotate(replicas)
    assert replicas.secrets == before
