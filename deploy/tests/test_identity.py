"""Processes are known by pid and birth: leftovers are ended, strangers with the same pid never."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from localstack.identity import Record, birth, end, read_record, read_records
from localstack.steps import tail

LEADER = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"


def start_group() -> tuple["subprocess.Popen[str]", Record]:
    process = subprocess.Popen([sys.executable, "-c", LEADER], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process, Record("x", process.pid, birth(process.pid) or "", time.time())


def test_children_of_a_killed_leader_are_ended() -> None:
    process, record = start_group()
    process.kill()
    process.wait(5)
    assert not record.alive()
    assert len(record.group()) == 1
    end([record], signal.SIGTERM, 0)
    assert record.group() == []


def test_a_living_group_is_asked_first() -> None:
    process, record = start_group()
    assert record.alive()
    end([record], signal.SIGTERM, 0.2)
    assert process.wait(5) == -signal.SIGTERM
    assert record.group() == []


def test_a_stranger_with_the_recorded_pid_is_left_alone() -> None:
    process, record = start_group()
    stranger = Record("x", record.pid, record.birth + "0", record.started_at)
    from_last_boot = Record("x", record.pid, "other-boot:1", record.started_at)
    assert stranger.group() == from_last_boot.group() == []
    end([stranger, from_last_boot], signal.SIGKILL, 0)
    assert process.poll() is None
    end([record], signal.SIGKILL, 0)
    process.wait(5)


def test_records_survive_their_files_and_broken_ones_are_passed_over(tmp_path: Path) -> None:
    record = Record("x", os.getpid(), birth(os.getpid()) or "", 1.0)
    record.write(tmp_path)
    assert read_record(tmp_path, "x") == record
    assert read_record(tmp_path, "y") is None
    (tmp_path / "z.json").write_text("{", encoding="utf-8")
    assert read_records(tmp_path) == [record]


def test_the_dead_have_no_birth() -> None:
    process = subprocess.Popen(["true"])
    process.wait(5)
    assert birth(process.pid) is None


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert tail(log) == "(no log yet)"
    log.write_text("".join(f"{i}\n" for i in range(100)), encoding="utf-8")
    assert tail(log, 2) == "98\n99"
