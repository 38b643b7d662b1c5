"""Programs that are forked are programs: environment, log, end and signals of their own, and nobody outlives the tests."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from common.testing.eventually import eventually
from common.testing.forked_programs import ForkedPrograms

PROGRAM = """
import os, sys, time
if __name__ == "__main__":
    print(__name__, sorted(os.environ), os.getpid(), sys.argv)
    print("told to stderr", file=sys.stderr)
    if os.environ["DOES"] == "wait":
        time.sleep(300)
    sys.exit(int(os.environ["DOES"]))
"""


@pytest.fixture
async def programs() -> AsyncIterator[ForkedPrograms]:
    made = ForkedPrograms()
    yield made
    await made.stop()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    package = tmp_path / "small_program"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    return tmp_path


def environment(place: Path, does: str) -> dict[str, str]:
    return {"PYTHONPATH": str(place), "DOES": does}


async def test_each_has_its_own_environment_log_and_end(programs: ForkedPrograms, place: Path) -> None:
    codes = (0, 3, 7)
    logs = [place / f"{code}.log" for code in codes]
    started = [
        await programs.start("small_program", environment(place, str(code)), log)
        for code, log in zip(codes, logs, strict=True)
    ]
    assert tuple([await program.wait() for program in started]) == tuple(program.returncode for program in started) == codes
    for program, log in zip(started, logs, strict=True):
        names, told = f"__main__ ['DOES', 'PYTHONPATH'] {program.pid} ", log.read_text()
        assert names in told
        assert "told to stderr" in told
        assert program.pid != os.getpid()
        program.kill()


async def test_killed_it_says_so_and_the_others_go_on(programs: ForkedPrograms, place: Path) -> None:
    first, second = [await programs.start("small_program", environment(place, "wait"), place / "log") for _ in range(2)]
    first.send_signal(signal.SIGKILL)
    assert await first.wait() == -signal.SIGKILL
    assert second.returncode is None
    second.terminate()
    assert await second.wait() == -signal.SIGTERM


async def test_none_outlives_who_started_it(place: Path) -> None:
    starter = f"""
import asyncio, pathlib
from common.testing.forked_programs import ForkedPrograms

async def main():
    program = await ForkedPrograms().start("small_program", {environment(place, "wait")!r}, pathlib.Path({str(place / "log")!r}))
    print(program.pid, flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", starter, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    assert psutil.pid_exists(pid)
    process.kill()
    await process.wait()
    await eventually(lambda: not psutil.pid_exists(pid))


async def test_with_the_end_of_the_run_it_ends(programs: ForkedPrograms, place: Path) -> None:
    program = await programs.start("small_program", environment(place, "wait"), place / "log")
    await programs.stop()
    assert not psutil.pid_exists(program.pid)
    assert await program.wait() == -signal.SIGKILL
