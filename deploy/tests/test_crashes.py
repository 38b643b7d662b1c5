"""Crash points in the only program in which they do something."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from crashing_publisher.crashes import Crashes

DEPLOY = Path(__file__).parents[1]


def command(reach: str) -> list[str]:
    program = f"import pathlib, sys; sys.path.append({str(DEPLOY)!r}); from crashing_publisher.crashes import Crashes; {reach}"
    return [sys.executable, "-c", program]


def test_a_crash_point_kills_only_when_it_is_the_chosen_one() -> None:
    Crashes().reach("x")
    Crashes("y").reach("x")
    assert subprocess.run(command("Crashes('x').reach('x')"), check=False).returncode == -signal.SIGKILL


def test_a_crash_point_in_the_folder_kills_one_process_once(tmp_path: Path) -> None:
    Crashes(folder=tmp_path).reach("x")
    (tmp_path / "x").touch()
    reach = command("Crashes(folder=pathlib.Path()).reach('x')")
    codes = [subprocess.run(reach, check=False, cwd=tmp_path).returncode for _ in range(2)]
    assert codes == [-signal.SIGKILL, 0]


def test_a_point_to_stop_at_stops_the_process() -> None:
    with subprocess.Popen(command("Crashes('stop:x').reach('x')")) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 0
