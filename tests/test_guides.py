"""The guides are true: each of their commands is run, in order, in one shell, and prints what the page prints."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from common.testing.http_server import free_port
from localstack.stack import Stack
from system.guides import DOCS, examples, fits, values
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

_MARK = "=== next example ==="


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the one video that all guides use."""
    return make_small_video(tmp_path_factory.mktemp("guides") / "video.mp4").path


@pytest.mark.parametrize(
    "guide", ["authentication.md", "accounts.md", "media.md", "posts.md", "audit.md", "live.md", "statistics.md"]
)
def test_every_command_prints_what_the_guide_prints(operator: Operator, tmp_path: Path, video: Path, guide: str) -> None:
    _write_addresses(operator.stack, tmp_path / ".local")
    shutil.copy(video, tmp_path / "video.mp4")
    _follow(guide, tmp_path)


def test_the_simulator_alone_serves_what_its_guide_says(tmp_path: Path, video: Path) -> None:
    """With the command that the guide gives: `make simulator`."""
    shutil.copy(video, tmp_path / "video.mp4")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "SIMULATOR_PORT": str(port)}
    with (tmp_path / "simulator.log").open("wb") as log:
        made = subprocess.Popen(
            ["make", "simulator"], cwd=DOCS.parent, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for("the simulator", lambda: _answers(address), timeout=60)
        _follow("simulator.md", tmp_path, SIMULATOR_URL=address)
    finally:
        os.killpg(made.pid, signal.SIGTERM)
        made.wait(60)


def _answers(address: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(address, trust_env=False).status_code == httpx.codes.OK
    return False


def _follow(guide: str, folder: Path, **environment: str) -> None:
    """Run a guide's commands in a folder, and compare what they print."""
    found = examples((DOCS / guide).read_text())
    assert len(found) >= 4
    script = "set -eu\n" + "".join(f"{command}\necho '{_MARK}'\n" for command, _ in found)
    ran = subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "127.0.0.1", **environment},
    )
    printed = ran.stdout.split(_MARK)
    for (command, wanted), output in zip(found, printed, strict=False):
        if wanted:
            got, expected = values(output), values(wanted)
            assert len(got) == len(expected), (command, output, ran.stderr)
            assert all(map(fits, got, expected)), (command, output)
    assert ran.returncode == 0, ran.stderr
    assert len(printed) == len(found) + 1


def _write_addresses(stack: Stack, folder: Path) -> None:
    folder.mkdir()
    simulator = f"http://127.0.0.1:{stack.ports.simulator}"
    (folder / "stack.env").write_text(f"GATEWAY_URL={stack.env('gateway')['PUBLIC_URL']}\nSIMULATOR_URL={simulator}\n")


@pytest.mark.parametrize(
    ("printed", "wanted", "good"),
    [
        ('{"a": "xyz"}\n200', '{"a": "x..."}\n200', True),
        ('{"a": "xyz"}\n200', '{"a": "y..."}\n200', False),
        ('{"a": "xyz"}\n200', '{"a": "..."}\n201', False),
        ('{"a": "x", "b": 1}\n200', '{"a": "x"}\n200', False),
        ('{"a": [1, 2]}', '{"a": [1]}', False),
        ('{"a": null}', '{"a": "..."}', False),
        ('Bearer error="x"', 'Bearer error="x"', True),
        ('Bearer error="y"', 'Bearer error="x"', False),
    ],
)
def test_a_guide_that_is_wrong_would_be_noticed(printed: str, wanted: str, good: bool) -> None:
    assert all(map(fits, values(printed), values(wanted))) is good
