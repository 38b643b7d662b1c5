"""A start that is refused or fails leaves the stored stack alone, so that a plain `make up` means the last good one."""

from pathlib import Path
from typing import NoReturn

import pytest

from localstack import rabbitmq, stack
from localstack.blueprint import Blueprint
from localstack.errors import StackError
from localstack.paths import Paths
from localstack.ports import Ports
from localstack.stack import Stack
from localstack.startup import Startup
from localstack.supervision import Supervisor


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blueprint:
    paths = Paths(tmp_path)
    paths.create()
    blueprint = Blueprint(ports=Ports.free())
    blueprint.save(paths)
    # Only the decision is tried here; the real start is what test_whole_stack does.
    monkeypatch.setattr(stack, "require_server", lambda _say: Path("/bin/true"))
    monkeypatch.setattr(rabbitmq, "find_epmd", lambda: Path("/bin/true"))
    monkeypatch.setattr(Supervisor, "start", lambda _self, _specs: None)
    return blueprint


def test_a_bad_setting_is_refused_before_anything_is_touched(
    tmp_path: Path, good: Blueprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_arguments: object) -> NoReturn:
        raise AssertionError("the stack was touched")

    monkeypatch.setattr(Supervisor, "start", touched)
    monkeypatch.setattr(rabbitmq, "write_configuration", touched)
    with pytest.raises(StackError, match="RATE_LIMIT_PER_USER"):
        Stack(tmp_path, good.ports, environment={"RATE_LIMIT_PER_USER": "foo"}).up()
    assert Blueprint.load(Paths(tmp_path)) == good


def test_a_start_that_fails_is_not_remembered_and_one_that_succeeds_is(
    tmp_path: Path, good: Blueprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> NoReturn:
        raise StackError("gateway-1 keeps ending")

    changed = Stack(tmp_path, good.ports, environment={"COMMAND_TIMEOUT_SECONDS": "6"})
    monkeypatch.setattr(Startup, "run", fails)
    with pytest.raises(StackError, match="keeps ending"):
        changed.up()
    assert Blueprint.load(Paths(tmp_path)) == good
    monkeypatch.setattr(Startup, "run", lambda *_arguments: None)
    changed.up()
    assert Blueprint.load(Paths(tmp_path)) == changed.blueprint
