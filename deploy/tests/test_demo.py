"""The demonstration says plainly where it cannot be given."""

import runpy
from pathlib import Path

import pytest


def test_without_the_simulator_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/stack.env").write_text("GATEWAY_URL=http://127.0.0.1:1\nSIMULATOR_URL=\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("demo", run_name="__main__")
    assert ended.value.code == 2
    assert "the demo needs the simulator" in capsys.readouterr().out
