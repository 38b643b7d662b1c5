"""Installing what the machine lacks: no service of it is started, and who lacks the rights is told what to run."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from localstack import rabbitmq, rabbitmq_install
from localstack.errors import StackError
from localstack.identity import Record
from localstack.launch import LONGEST_PAUSE, SHORT_LIFE, pause_after, short_lives_after
from localstack.paths import CHECKOUT
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
    with pytest.raises(StackError) as refused:
        require_server(silent)
    assert "sudo apt-get update && sudo apt-get install --no-install-recommends rabbitmq-server" in str(refused.value)


def command(path: Path, lines: str) -> None:
    """Put a shell script where a command of the machine would be found."""
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def sudo(tmp_path: Path) -> Path:
    """Make a machine whose user may use sudo and whose package lists are empty at first; returns the file of what sudo ran."""
    ran, lists, installed = tmp_path / "ran", tmp_path / "lists", tmp_path / "installed"
    command(tmp_path / "sudo", f'printf "%s\\n" "$*" >>{ran}\n[ "$1" = -n ] && shift\nexec "$@"')
    command(tmp_path / "apt-get", f'case "$*" in *update*) >{lists}; exit;; esac\n[ -e {lists} ] && >{installed}')
    command(tmp_path / "systemctl", "exit 0")
    command(tmp_path / "id", "echo 1000")
    return ran


def test_who_may_use_sudo_has_rabbitmq_installed_by_it(
    tmp_path: Path, sudo: Path, policy: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, installed = tmp_path / "rabbitmq-server", tmp_path / "installed"
    monkeypatch.setattr(rabbitmq_install, "find_server", lambda: server if installed.exists() else None)
    monkeypatch.setattr(rabbitmq_install, "_enabled_units", lambda: {"epmd.socket"} if installed.exists() else set())
    monkeypatch.setattr(no_service_starts.__wrapped__, "__defaults__", policy)  # type: ignore[attr-defined]
    monkeypatch.setattr(remove_left_guard, "__defaults__", policy)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    policy[0].write_text("own", encoding="utf-8")
    assert require_server(silent, lock=tmp_path / "lock") == server
    ran = sudo.read_text(encoding="utf-8").splitlines()
    apt = f"-n env DEBIAN_FRONTEND=noninteractive apt-get {' '.join(rabbitmq_install.WAIT_FOR_OTHERS)}"
    install = f"{apt} install -y -q --no-install-recommends rabbitmq-server"
    assert [line for line in ran if "apt-get" in line] == [install, f"{apt} update -q", install]
    assert ran.index(f"-n tee {policy[0]}") < ran.index(install)
    assert ran[-1] == "-n systemctl disable --quiet epmd.socket"
    assert policy[0].read_text(encoding="utf-8") == "own"


def bootstrap(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script with a Python that lacks its venv package until that is installed, and stops at making one."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(CHECKOUT / "deploy/bootstrap.sh", tmp_path / "deploy")
    without = f'case "$*" in *"import ensurepip"*) [ -e {tmp_path}/installed ]; exit;; *"-m venv"*) exit 7;; esac'
    command(tmp_path / "python", f'{without}\nexec {sys.executable} "$@"')
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHON": str(tmp_path / "python")}
    return subprocess.run(
        ["bash", str(tmp_path / "deploy/bootstrap.sh")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PACKAGE = f"python3.{sys.version_info.minor}-venv"


def test_who_may_use_sudo_has_the_package_for_environments_installed_by_it(tmp_path: Path, sudo: Path) -> None:
    assert bootstrap(tmp_path).returncode == 7
    ran = [line for line in sudo.read_text(encoding="utf-8").splitlines() if "apt-get" in line]
    install = f"-n env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends {PACKAGE}"
    assert ran == [install, "-n apt-get update -q", install]


@pytest.mark.usefixtures("sudo")
def test_without_rights_for_the_package_the_message_says_what_to_run(tmp_path: Path) -> None:
    command(tmp_path / "sudo", "exit 1")
    refused = bootstrap(tmp_path)
    assert refused.returncode == 1
    assert f"sudo apt-get update && sudo apt-get install {PACKAGE}" in refused.stderr


def test_without_rights_the_message_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("apt-get", "sudo"):
        command(tmp_path / name, "exit 1")
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
