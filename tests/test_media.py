"""The media library through the whole system: two gateways, two schedulers, one storage."""

import hashlib
import io
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from demo.video import make_video
from system.operator import Operator
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MEDIA = "/api/v1/media"


class Library:
    """One user's library at both gateways, and the storage behind it."""

    def __init__(self, operator: Operator, passed_secrets: list[str]) -> None:
        stack = operator.stack
        urls = [f"http://127.0.0.1:{stack.env(name)['HTTP_PORT']}" for name in ("gateway-1", "gateway-2")]
        self.gateways = [httpx.Client(base_url=url, timeout=60, trust_env=False) for url in urls]
        self.storage = Path(stack.env("gateway-1")["STORAGE_URL"].removeprefix("file://"))
        password = secrets.token_urlsafe(24)
        body = {"email": f"m{secrets.token_hex(6)}@example.com", "username": "somebody", "password": password}
        tokens = self.gateways[0].post("/api/v1/auth/register", json=body).raise_for_status().json()
        passed_secrets += [password, tokens["refresh_token"], tokens["access_token"].rpartition(".")[2]]
        for client in self.gateways:
            client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        self.user_id = self.gateways[0].get("/api/v1/auth/me").raise_for_status().json()["id"]

    def upload(self, content: bytes, *, gateway: int = 0, **headers: str) -> httpx.Response:
        return self.gateways[gateway].post(f"{MEDIA}/upload", files={"file": ("a", content)}, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.gateways[0].get(f"{MEDIA}{path}", headers=headers)

    def delete(self, media_id: str) -> httpx.Response:
        return self.gateways[0].delete(f"{MEDIA}/{media_id}")

    def stored(self) -> list[str]:
        return [str(path) for path in self.storage.rglob("*") if path.is_file() and self.user_id in str(path)]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "small.mp4"
    make_video(path, bit_rate=2_000_000, quantizer=51, min_bytes=1)
    return path.read_bytes()


@pytest.fixture
def library(operator: Operator, passed_secrets: list[str]) -> Iterator[Library]:
    library = Library(operator, passed_secrets)
    yield library
    for client in library.gateways:
        client.close()


def test_a_file_comes_is_read_and_goes(library: Library, clip: bytes) -> None:
    media = library.upload(clip).raise_for_status().json()
    path = f"/{media['id']}"
    assert (media["status"], media["sha256"]) == ("ready", hashlib.sha256(clip).hexdigest())
    assert library.get(f"{path}/content").content == clip
    part = library.get(f"{path}/content", Range="bytes=-100")
    assert (part.status_code, part.content) == (206, clip[-100:])
    with av.open(io.BytesIO(library.get(f"{path}/thumbnail").content), format="jpeg_pipe") as thumbnail:
        assert thumbnail.streams.video[0].height == 640
    head = library.gateways[0].head(f"{MEDIA}{path}/content")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(clip)), b"")
    assert [item["id"] for item in library.get("?kind=video&status=ready").json()["items"]] == [media["id"]]
    assert len(library.stored()) == 2
    assert library.delete(media["id"]).status_code == 204
    assert {library.get(f"{path}{kind}").status_code for kind in ("", "/content", "/thumbnail")} == {404}
    wait_for("the bytes to be gone", lambda: not library.stored())


def test_the_same_upload_at_both_gateways_at_once(library: Library, clip: bytes) -> None:
    with ThreadPoolExecutor(4) as threads:
        one_key = [threads.submit(library.upload, clip, gateway=n % 2, **{"Idempotency-Key": "k"}) for n in range(4)]
        answers = [each.result() for each in one_key]
        without = [threads.submit(library.upload, clip, gateway=n % 2) for n in range(2)]
        more = [each.result() for each in without]
    assert {answer.status_code for answer in (*answers, *more)} == {201}
    ids = {answer.json()["id"] for answer in answers}
    assert (len(ids), len({answer.json()["id"] for answer in more} | ids)) == (1, 3)
    wait_for("one copy and its thumbnail", lambda: len(library.stored()) == 2)
    other = library.upload(clip + b"x", gateway=1, **{"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    wait_for("one copy and its thumbnail", lambda: len(library.stored()) == 2)


def test_a_photo_and_what_is_none(library: Library, clip: bytes) -> None:
    media: dict[str, Any] = library.upload(clip).raise_for_status().json()
    photo = library.get(f"/{media['id']}/thumbnail").content
    taken = library.upload(photo).raise_for_status().json()
    assert (taken["content_type"], taken["height"], taken["duration_ms"]) == ("image/jpeg", 640, None)
    png = library.upload(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert (png.status_code, png.json()["code"], png.json()["errors"][0]["found"]) == (422, "media_rejected", "png")
    wait_for("what was refused to be gone", lambda: len(library.stored()) == 4)


def test_a_file_that_a_post_needs_stays(operator: Operator, tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(clip)
    account, _ = operator.account()
    media_id = operator.media(tmp_path / "a.mp4")
    post = operator.schedule(account, media_id, in_seconds=3600)
    refused = operator.user.request("DELETE", f"{MEDIA}/{media_id}")
    assert (refused.status_code, refused.json()["post_ids"]) == (409, [post])
    assert operator.user.request("DELETE", f"/api/v1/posts/{post}").status_code == 204
    assert operator.user.request("DELETE", f"{MEDIA}/{media_id}").status_code == 204
