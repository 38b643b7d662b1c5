"""Where the servers of a test run keep their data, and what a killed run left."""

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from common.testing.server_folder import LEAST_BYTES, PREFIX, ServerFolder, base_folder


class Usage(NamedTuple):
    free: int


def stop_nothing(folder: Path) -> None:
    pytest.fail(f"nothing is left in {folder}")


@pytest.mark.parametrize(("free", "is_taken"), [(LEAST_BYTES, True), (LEAST_BYTES - 1, False)])
def test_memory_is_taken_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, is_taken: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda *_: Usage(free))
    assert base_folder(tmp_path) == (tmp_path if is_taken else Path(tempfile.gettempdir()))


def test_memory_that_is_missing_or_may_not_be_written_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert base_folder(tmp_path / "missing") == Path(tempfile.gettempdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda *_: Usage(LEAST_BYTES))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert base_folder(tmp_path) == Path(tempfile.gettempdir())


def test_others_may_pass_through_it_and_it_goes_with_its_run(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path, stop=stop_nothing)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o711
    (folder.path / "data").write_bytes(b"x")
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_ended_and_removed_and_nothing_else(tmp_path: Path) -> None:
    living = ServerFolder(tmp_path, stop=stop_nothing)
    for name in (f"{PREFIX}left", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(b"x")
    stopped: list[Path] = []
    own = ServerFolder(tmp_path, stop=stopped.append)
    assert stopped == [tmp_path / f"{PREFIX}left"]
    assert sorted(tmp_path.iterdir()) == sorted([living.path, own.path, tmp_path / "others"])
    own.remove()
    living.remove()


def test_what_belongs_to_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{PREFIX}left").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    ServerFolder(tmp_path, stop=stop_nothing).remove()
    assert [path.name for path in tmp_path.iterdir()] == [f"{PREFIX}left"]
