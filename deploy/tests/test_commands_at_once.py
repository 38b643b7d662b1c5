"""Commands on one stack at the same time: each begins when the one before it has ended, and knows what that one stored."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from localstack import ready
from localstack.blueprint import Blueprint
from localstack.bring_up import bring_up
from localstack.paths import Paths
from localstack.stack import Stack
from localstack.startup import Startup
from localstack.steps import Steps
from localstack.supervision import ProcessState, Supervisor

PATIENCE = 60
FIRST = {"LOG_LEVEL": "DEBUG", "AMQP_ADDRESS": "127.0.0.1:5777"}


@dataclass
class Programs:
    """Stands for what a stack starts; its first start lasts until `go_on` is set."""

    starts: list[Blueprint] = field(default_factory=list)
    begun: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)
    keys_made_under_the_lock: list[bool] = field(default_factory=list)

    def start(self, stack: Stack) -> None:
        self.starts.append(stack.blueprint)
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        stack.blueprint.save(stack.paths)

    def make_key(self, paths: Paths) -> str:
        self.keys_made_under_the_lock.append(is_held(paths.lock))
        return "cpk_x"


def is_held(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    found = Programs()

    def start(stack: Stack, _steps: Steps) -> None:
        found.start(stack)

    def key(_gateway: str, paths: Paths, _password: str) -> str:
        return found.make_key(paths)

    monkeypatch.setattr(Stack, "_up", start)
    running = {"gateway-1": ProcessState("gateway-1", "RUNNING", 1, 0.0)}
    monkeypatch.setattr(Stack, "states", lambda _self: running if found.starts else {})
    monkeypatch.setattr(ready, "working_key", key)
    return found


def test_two_ups_at_once_end_as_one_after_the_other(tmp_path: Path, programs: Programs) -> None:
    waits = Event()

    def second_says(line: str) -> None:
        if "waiting" in line:
            waits.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bring_up, tmp_path, FIRST, lambda _: None)
        assert programs.begun.wait(PATIENCE)
        second = pool.submit(bring_up, tmp_path, {}, second_says)
        assert waits.wait(PATIENCE)
        assert len(programs.starts) == 1
        programs.go_on.set()
        first.result(PATIENCE)
        second.result(PATIENCE)
    assert programs.starts[0].environment == {"LOG_LEVEL": "DEBUG"}
    assert programs.starts[1] == programs.starts[0] == Blueprint.load(Paths(tmp_path)), "the first one's settings stay"
    assert programs.keys_made_under_the_lock == [True, True]


def test_replicas_are_added_to_what_runs_when_their_turn_comes(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Event()
    monkeypatch.setattr(Supervisor, "alive", lambda _self: True)
    monkeypatch.setattr(Supervisor, "known_spec", lambda _self, name: name)
    monkeypatch.setattr(Supervisor, "knows", lambda _self, _name: True)
    monkeypatch.setattr(Stack, "_ensure_supervisor", lambda _self, _specs: None)
    monkeypatch.setattr(Startup, "start_all", lambda _self, _names: None)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bring_up, tmp_path, FIRST, lambda _: None)
        assert programs.begun.wait(PATIENCE)
        second = pool.submit(Stack.saved(tmp_path, say=lambda _: waits.set()).scale, "publisher", 3)
        assert waits.wait(PATIENCE)
        programs.go_on.set()
        first.result(PATIENCE)
        second.result(PATIENCE)
    stored: Any = Blueprint.load(Paths(tmp_path))
    assert (stored.environment, stored.replicas) == ({"LOG_LEVEL": "DEBUG"}, {"publisher": 3})
