"""Finding and installing RabbitMQ: no service of the machine is started, and a refusal says what to run."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from localstack import rabbitmq, rabbitmq_install
from localstack.errors import StackError
from localstack.identity import Record
from localstack.launch import LONGEST_PAUSE, SHORT_LIFE, pause_after, short_lives_after
from localstack.rabbitmq_install import GUARD, find_server, no_service_starts, remove_left_guard, require_server
from localstack.steps import silent


@pytest.fixture
def policy(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "policy-rc.d", tmp_path / "policy-rc.d.saved"


def test_services_are_guarded_only_while_installing(policy: tuple[Path, Path]) -> None:
    with no_service_starts([], *policy):
        assert policy[0].read_text(encoding="utf-8") == GUARD
        assert os.access(policy[0], os.X_OK)
    assert not policy[0].exists()


def test_the_machines_own_policy_returns_also_after_an_error(policy: tuple[Path, Path]) -> None:
    policy[0].write_text("own", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), no_service_starts([], *policy):
        raise ZeroDivisionError
    assert policy[0].read_text(encoding="utf-8") == "own"
    assert not policy[1].exists()


def test_a_guard_left_by_a_killed_run_is_not_taken_for_the_machines(policy: tuple[Path, Path]) -> None:
    policy[0].write_text(GUARD, encoding="utf-8")
    policy[1].write_text("own", encoding="utf-8")
    with no_service_starts([], *policy):
        pass
    assert policy[0].read_text(encoding="utf-8") == "own"


@pytest.mark.parametrize("saved", ["own", None])
def test_a_guard_left_by_a_killed_run_is_removed_by_the_next(
    policy: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: str | None
) -> None:
    policy[0].write_text(GUARD, encoding="utf-8")
    if saved is not None:
        policy[1].write_text(saved, encoding="utf-8")
    monkeypatch.setattr(rabbitmq_install, "as_root", list)
    monkeypatch.setattr(rabbitmq_install, "find_server", lambda: tmp_path / "rabbitmq-server")
    monkeypatch.setattr(remove_left_guard, "__defaults__", policy)
    require_server(silent, lock=tmp_path / "lock")
    assert (policy[0].read_text(encoding="utf-8") if policy[0].exists() else None) == saved
    assert not policy[1].exists()
    policy[0].write_text("own", encoding="utf-8")
    require_server(silent, lock=tmp_path / "lock")
    assert policy[0].read_text(encoding="utf-8") == "own"


def test_a_named_server_is_used_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "rabbitmq-server"
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("RABBITMQ_SERVER", str(script))
    assert find_server() == script == require_server(silent)


def test_the_wrapper_that_insists_on_the_systems_folders_is_never_used() -> None:
    assert find_server() != Path("/usr/sbin/rabbitmq-server")


def test_without_a_package_manager_the_message_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_install, "find_server", lambda: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackError, match="apt-get install --no-install-recommends rabbitmq-server"):
        require_server(silent)


def test_without_rights_the_message_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("apt-get", "sudo"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(rabbitmq_install, "find_server", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="brew install rabbitmq"):
        require_server(silent)


def test_who_comes_during_an_installation_waits_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, complete, calls = tmp_path / "rabbitmq-server", tmp_path / "complete", tmp_path / "calls"
    apt = tmp_path / "apt-get"
    apt.write_text(f"#!/bin/sh\necho >>{calls}\n>{server}\nsleep 0.5\n>{complete}\n", encoding="utf-8")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(rabbitmq_install, "find_server", lambda: server if server.exists() else None)
    monkeypatch.setattr(rabbitmq_install, "as_root", list)
    monkeypatch.setattr(rabbitmq_install, "no_service_starts", lambda _prefix: nullcontext())
    monkeypatch.setattr(rabbitmq_install, "_enabled_units", set)
    monkeypatch.setattr(shutil, "which", lambda name: name == "apt-get")

    def required() -> bool:
        assert require_server(silent, lock=tmp_path / "lock") == server
        return complete.exists()

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(lambda _: required(), range(3)))
    assert calls.read_text(encoding="utf-8") == "\n"


def test_missing_erlang_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(rabbitmq, "SEARCH_PATH", "/nonexistent")
    with pytest.raises(StackError, match="Erlang"):
        rabbitmq.find_epmd()


def test_pauses_grow_only_while_a_program_keeps_ending() -> None:
    ended_soon = Record("x", 1, "b", 100.0, short_lives=0)
    assert short_lives_after(ended_soon, 101.0) == 1
    assert short_lives_after(ended_soon, 100.0 + SHORT_LIFE) == 0
    pauses = [pause_after(count) for count in range(12)]
    assert pauses[:2] == [0.0, 0.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
