import json
import re
import runpy
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tiktok_simulator.driver import Driver
from tiktok_simulator.media_host import MediaHost
from tiktok_simulator.sample_photo import make_photo
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator


async def test_health_and_overview(driver: Driver, video: bytes) -> None:
    assert (await driver.http.get(f"{driver.base_url}/healthz")).json()["status"] == "ok"
    token = (await driver.connect())["access_token"]
    await driver.finished(await driver.upload(token, video, "<script>alert(1)</script>"))
    await driver.finished(await driver.upload(token, bytes(100), "broken"))
    page = (await driver.http.get(f"{driver.base_url}/")).text
    assert "demo_private" in page
    assert "PUBLISH_COMPLETE" in page
    assert "file_format_check_failed" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "setInterval" in page
    assert (await driver.http.get(f"{driver.base_url}/_simulator/avatars/nobody.svg")).status_code == 404


async def test_the_page_plays_and_switches(driver: Driver, video: bytes, host: MediaHost) -> None:
    token = (await driver.connect())["access_token"]
    published = await driver.upload(token, video)
    draft = (await driver.draft(token, host.put("/a", video))).json()["data"]["publish_id"]
    photos = (await driver.photos(token, [host.put("/b", make_photo())])).json()["data"]["publish_id"]
    for publish_id in (published, draft, photos):
        await driver.finished(publish_id)
    await driver.fault("download", drop=True, times=7)
    page = (await driver.http.get(f"{driver.base_url}/")).text
    assert f'<video controls preload="none" src="/_simulator/media/{published}/0">' in page
    assert f'<img src="/_simulator/media/{photos}/0"' in page
    assert f'data-path="/_simulator/drafts/{draft}/publish"' in page
    assert "&quot;times&quot;: 7" in page
    picture = await driver.http.get(f"{driver.base_url}/_simulator/media/{photos}/0")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    orders = [json.loads(unescape(value)) for value in re.findall(r'<option value="([^"]+)"', page)]
    assert len(orders) > 60
    for order in orders:
        await driver.fault(**order)


async def test_creators_are_added_and_changed(driver: Driver) -> None:
    url = f"{driver.base_url}/_simulator/creators"
    names = [item["username"] for item in (await driver.http.get(url)).json()["items"]]
    assert names == ["demo_public", "demo_private", "demo_capped"]
    added = await driver.http.post(
        url, json={"username": "new", "persona": "private", "display_name": "New", "likes_count": 2**62}
    )
    assert added.status_code == 201
    assert added.json()["connected"] is False
    assert added.json()["likes_count"] == 2**62
    await driver.connect("new")
    changed = (await driver.http.post(url, json={"username": "new", "follower_count": 9})).json()
    assert (changed["persona"], changed["follower_count"], changed["connected"]) == ("private", 9, True)
    assert changed["open_id"] == added.json()["open_id"]
    for wrong in ({"username": "a b"}, {"username": "x1", "persona": "odd"}, {"username": "x1", "typo": 1}):
        assert (await driver.http.post(url, json=wrong)).status_code == 422


async def test_the_ledger_can_be_asked_for_less(driver: Driver) -> None:
    tokens = await driver.connect()
    for title in ("a", "b", "b"):
        await driver.init(tokens["access_token"], 1000, title)
    assert [item["title"] for item in await driver.ledger(limit="2")] == ["b", "b"]
    assert len(await driver.ledger(title="b")) == 2
    assert len(await driver.ledger(open_id=tokens["open_id"])) == 3
    assert await driver.ledger(publish_id="x") == []


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SIMULATOR_REDIRECT_URIS": "http://a/cb, http://b/cb",
        "SIMULATOR_SCOPES": '["user.info.basic"]',
        "SIMULATOR_STATE_FILE": "",
        "SIMULATOR_PORT": "1234",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.redirect_uris == ("http://a/cb", "http://b/cb")
    assert settings.scopes == ("user.info.basic",)
    assert settings.state_file is None
    assert settings.port == 1234
    assert "simulator-client-secret" not in repr(settings)


def test_the_program_serves_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []

    def run(self: Any, sockets: list[Any]) -> None:
        served.append((self.config.app.title, sockets[0].getsockname()[0]))
        sockets[0].close()

    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setenv("SIMULATOR_PORT", "0")
    runpy.run_module("tiktok_simulator", run_name="__main__")
    assert served == [("TikTok simulator", "127.0.0.1")]


async def test_a_simulator_that_cannot_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(RuntimeError, match="did not start"):
        async with running_simulator(Settings(port=0, state_file=tmp_path / "state")):
            pass
