"""The demonstration says plainly where it cannot be given, and ends well only when everything was as promised."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import __main__ as demo
from demo.api import Creator
from demo.errors import DemoError
from demo.video import Video


def test_without_the_simulator_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/stack.env").write_text("GATEWAY_URL=http://127.0.0.1:1\nSIMULATOR_URL=\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == 2
    assert "the demo needs the simulator" in capsys.readouterr().out


def test_where_nothing_runs_it_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == 1


@dataclass
class Told:
    """What the API and the ledger say in the end."""

    status: str
    ledger: list[str]

    def detail(self, _: str) -> dict[str, Any]:
        """Return the post's detail."""
        post = {"status": self.status, "video_url": "https://www.tiktok.com/@a/video/7", "tiktok_account_id": "a"}
        return {"post": post, "execution_logs": [{"type": "post.published", "at": "2026-01-01T00:00:00Z", "message": "m"}]}

    def publications(self, _: Creator) -> list[dict[str, Any]]:
        """Return what was published of the creator."""
        return [{"sha256": sha256} for sha256 in self.ledger]

    def request(self, *_: object, **__: object) -> httpx.Response:
        """Have no statistics."""
        raise httpx.ConnectError("away")


@pytest.mark.parametrize(
    ("status", "ledger", "lateness", "wrong"),
    [
        ("published", ["s"], 0.0, None),
        ("published", ["s"], 250.0, None),
        ("published", ["s"], 250.1, "lateness"),
        ("published", ["s"], -0.1, "lateness"),
        ("published", ["s", "s"], 3.0, "exactly one publication"),
        ("published", [], 3.0, "exactly one publication"),
        ("published", ["t"], 3.0, "exactly one publication"),
        ("failed", ["s"], 3.0, "says failed"),
    ],
)
def test_only_one_publication_of_the_same_bytes_on_time_is_success(
    tmp_path: Path, status: str, ledger: list[str], lateness: float, wrong: str | None
) -> None:
    told: Any = Told(status, ledger)
    video = Video(tmp_path / "v.mp4", 1, "s")
    proving = demo._prove(told, Creator("o", "u"), video, "p", {"data": {"lateness_ms": lateness}})
    if wrong is None:
        asyncio.run(proving)
    else:
        with pytest.raises(DemoError, match=wrong):
            asyncio.run(proving)


@pytest.mark.parametrize("order", [("started", "published"), ("published", "started")])
def test_events_are_taken_in_any_order(order: tuple[str, str]) -> None:
    kinds = {"started": "cuepost.publisher.publish.started.v1", "published": "cuepost.scheduler.post.published.v1"}
    time = "2026-01-01T00:00:00+00:00"

    async def follow() -> dict[str, Any]:
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for name in order:
            data = {"attempt": 1, "lateness_ms": 1.0, "status": name}
            events.put_nowait({"subject": "p", "type": kinds[name], "time": time, "data": data})
        async with asyncio.timeout(10):
            return await demo._follow(events, "p", demo.datetime.fromisoformat(time))

    assert asyncio.run(follow())["type"] == kinds["started"]
