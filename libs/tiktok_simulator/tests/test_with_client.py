"""The client library against the simulator, over both transports that the services use."""

import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from httpx_aiohttp import HttpxAiohttpClient
from pydantic import SecretStr

from tiktok.chunks import ChunkRange, plan_chunks
from tiktok.display import UserClient
from tiktok.errors import GrantInvalid, TikTokRefused, TikTokUnavailable, TokenInvalid
from tiktok.models import FileSource, PostInfo, PullSource
from tiktok.oauth import OAuthClient, TokenGrant, authorize_url, pkce_pair
from tiktok.photos import PhotoMode, PhotoPost
from tiktok.posting import PostingClient
from tiktok.upload import BodyLengthMismatch, ChunkOutcome, ChunkResult, put_chunk
from tiktok.videos import VideoClient
from tiktok_simulator.driver import ALL_SCOPES, REDIRECT_URI, Driver
from tiktok_simulator.media_host import MediaHost, Resource
from tiktok_simulator.sample_photo import make_photo
from tiktok_simulator.testing import RunningSimulator

SIZE = 66_000_000


@dataclass
class App:
    """The client library as a service uses it."""

    driver: Driver
    oauth: OAuthClient
    users: UserClient
    posting: PostingClient
    videos: VideoClient

    async def connect(self, username: str = "demo_public") -> TokenGrant:
        pair = pkce_pair()
        url = authorize_url(
            f"{self.driver.base_url}/v2/auth/authorize/",
            client_key="simulator-client-key",
            redirect_uri=REDIRECT_URI,
            scopes=ALL_SCOPES.split(","),
            state="state",
            code_challenge=pair.challenge,
            extra={"simulator_creator": username},
        )
        answer = await self.driver.http.get(url, follow_redirects=False)
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        return await self.oauth.exchange_code(code, redirect_uri=REDIRECT_URI, code_verifier=pair.verifier)

    async def put(self, upload_url: str, chunk: ChunkRange, data: bytes) -> ChunkResult:
        body = pieces(data[chunk.first : chunk.last + 1])
        return await put_chunk(self.driver.http, upload_url, chunk.first, chunk.last, len(data), body, "video/mp4")


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture(params=["httpcore", "aiohttp"])
async def app(request: pytest.FixtureRequest, shared: RunningSimulator) -> AsyncIterator[App]:
    await shared.state.reset()
    kind = httpx.AsyncClient if request.param == "httpcore" else HttpxAiohttpClient
    async with kind(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
        oauth = OAuthClient(http, shared.base_url, "simulator-client-key", SecretStr("simulator-client-secret"))
        yield App(
            Driver(http, shared.base_url),
            oauth,
            UserClient(http, shared.base_url),
            PostingClient(http, shared.base_url),
            VideoClient(http, shared.base_url),
        )


async def test_the_main_path(app: App) -> None:
    grant = await app.connect()
    user = await app.users.user_info(grant.access_token, grant.scopes)
    assert (user.open_id, user.username, user.follower_count) == (grant.open_id, "demo_public", 12840)
    info = await app.posting.creator_info(grant.access_token)
    data = os.urandom(SIZE)
    plan = plan_chunks(SIZE)
    init = await app.posting.init_video(
        grant.access_token, PostInfo(privacy_level=info.privacy_level_options[0], title="hi"), FileSource(plan)
    )
    for chunk in plan.ranges:
        result = await app.put(init.upload_url, chunk, data)
        assert result.reported_end == chunk.last + 1
        last = chunk.index == plan.count - 1
        assert result.outcome is (ChunkOutcome.COMPLETE if last else ChunkOutcome.STORED)
        status = await app.posting.status(grant.access_token, init.publish_id)
        assert status.uploaded_bytes == chunk.last + 1
    (item,) = await app.driver.ledger()
    assert item["sha256"] == hashlib.sha256(data).hexdigest()


async def test_inits_that_are_tried_without_effect(app: App) -> None:
    token = (await app.connect()).access_token
    photos = PhotoPost(mode=PhotoMode.MEDIA_UPLOAD, images=("https://photos.test/1.jpg",))
    for call in (
        app.posting.try_video_init(token, PostInfo(privacy_level="SELF_ONLY")),
        app.posting.try_inbox_init(token),
        app.posting.try_photo_init(token, photos),
    ):
        with pytest.raises(TikTokRefused) as caught:
            await call
        assert (caught.value.http_status, caught.value.code) == (400, "invalid_params")
    assert await app.driver.ledger() == []


async def test_videos_by_page_and_by_id(app: App, video: bytes) -> None:
    grant = await app.connect()
    token = grant.access_token
    for number in range(3):
        publish_id = await app.driver.upload(
            token.get_secret_value(), video, f"video {number}", privacy_level="PUBLIC_TO_EVERYONE"
        )
        await app.driver.finished(publish_id)
    first = await app.videos.list_videos(token, max_count=2)
    assert [(one.title, len(one.id)) for one in first.videos] == [("video 2", 19), ("video 1", 19)]
    assert first.has_more
    rest = await app.videos.list_videos(token, cursor=first.cursor, max_count=2)
    assert ([one.title for one in rest.videos], rest.has_more) == (["video 0"], False)
    (found,) = await app.videos.query_videos(token, [rest.videos[0].id, "7000000000000000000"])
    assert found.share_url is not None
    assert f"/@demo_public/video/{found.id}?" in found.share_url


async def test_pulls_photos_and_drafts(app: App, host: MediaHost, video: bytes) -> None:
    token = (await app.connect()).access_token
    url = host.put("/a.mp4", video)
    info = PostInfo(privacy_level="PUBLIC_TO_EVERYONE", title="pulled", disable_duet=True)
    pulled = (await app.posting.init_video_pull(token, info, PullSource(url))).publish_id
    photo = PhotoPost(mode=PhotoMode.DIRECT_POST, images=(host.put("/1", make_photo()),), privacy_level="SELF_ONLY", title="p")
    photos = await app.posting.init_photo(token, photo)
    photo_draft = await app.posting.init_photo(
        token, PhotoPost(mode=PhotoMode.MEDIA_UPLOAD, images=(f"{host.base_url}/1",), description="d", is_aigc=True)
    )
    draft_by_pull = await app.posting.init_inbox_pull(token, PullSource(url))
    plan = plan_chunks(len(video))
    draft = await app.posting.init_inbox(token, FileSource(plan))
    result = await app.put(draft.upload_url, plan.chunk(0), video)
    assert result.outcome is ChunkOutcome.COMPLETE
    for publish_id, state in (
        (pulled, "PUBLISH_COMPLETE"),
        (photos.publish_id, "PUBLISH_COMPLETE"),
        (photo_draft.publish_id, "SEND_TO_USER_INBOX"),
        (draft_by_pull.publish_id, "SEND_TO_USER_INBOX"),
        (draft.publish_id, "SEND_TO_USER_INBOX"),
    ):
        await app.driver.finished(publish_id)
        assert (await app.posting.status(token, publish_id)).status == state
    status = await app.posting.status(token, pulled)
    assert (status.downloaded_bytes, status.uploaded_bytes, len(status.post_ids)) == (len(video), None, 1)
    modes = [(item["mode"], item["media_type"]) for item in await app.driver.ledger()]
    assert modes == [("direct", "video"), ("direct", "photo"), ("inbox", "photo"), ("inbox", "video"), ("inbox", "video")]
    await app.driver.admin("POST", f"drafts/{draft_by_pull.publish_id}/publish")
    assert (await app.posting.status(token, draft_by_pull.publish_id)).complete


async def test_cancelling(app: App, host: MediaHost, video: bytes) -> None:
    token = (await app.connect()).access_token
    url = host.put("/a.mp4", Resource(video, stop_after=10))
    info = PostInfo(privacy_level="SELF_ONLY")
    publish_id = (await app.posting.init_video_pull(token, info, PullSource(url))).publish_id
    await app.posting.cancel(token, publish_id)
    status = await app.posting.status(token, publish_id)
    assert (status.failed, status.fail_reason) == (True, "publish_cancelled")
    with pytest.raises(TikTokRefused) as caught:
        await app.posting.cancel(token, publish_id)
    assert caught.value.code == "publish_not_cancellable"


async def test_rotation_and_revocation(app: App) -> None:
    first = await app.connect()
    second = await app.oauth.refresh(first.refresh_token)
    with pytest.raises(GrantInvalid):
        await app.oauth.refresh(first.refresh_token)
    await app.oauth.revoke(second.access_token)
    with pytest.raises(TokenInvalid):
        await app.posting.creator_info(second.access_token)


async def test_refusals(app: App) -> None:
    capped = await app.connect("demo_capped")
    with pytest.raises(TikTokRefused) as caught:
        await app.posting.creator_info(capped.access_token)
    assert (caught.value.code, caught.value.http_status) == ("spam_risk_too_many_posts", 200)


async def test_whether_an_init_may_have_been_sent(app: App) -> None:
    grant = await app.connect()
    source = FileSource(plan_chunks(1000))
    for order in ({"drop": True}, {"lost_answer": True}, {"status": 502}):
        await app.driver.fault("/v2/post/publish/video/init/", **order)
        with pytest.raises(TikTokUnavailable) as caught:
            await app.posting.init_video(grant.access_token, PostInfo(privacy_level="SELF_ONLY"), source)
        assert caught.value.sent
    assert len(await app.driver.ledger()) == 1
    nowhere = PostingClient(app.driver.http, "http://127.0.0.1:1")
    with pytest.raises(TikTokUnavailable) as caught:
        await nowhere.init_video(grant.access_token, PostInfo(privacy_level="SELF_ONLY"), source)
    assert not caught.value.sent


async def test_chunks_through_trouble(app: App) -> None:
    grant = await app.connect()
    plan = plan_chunks(SIZE)
    data = os.urandom(SIZE)
    init = await app.posting.init_video(grant.access_token, PostInfo(privacy_level="SELF_ONLY"), FileSource(plan))

    async def stored() -> int | None:
        return (await app.posting.status(grant.access_token, init.publish_id)).uploaded_bytes

    for order in ({"drop": True}, {"drop": True, "delay_at": "body"}):
        # One transport repeats a PUT by itself when a kept connection turns out to be closed.
        await app.driver.fault("upload", times=2, **order)
        with pytest.raises(TikTokUnavailable) as caught:
            await app.put(init.upload_url, plan.chunk(0), data)
        assert caught.value.sent
        await app.driver.http.delete(f"{app.driver.base_url}/_simulator/faults")
        assert await stored() == 0
    await app.driver.fault("upload", status=502)
    assert (await app.put(init.upload_url, plan.chunk(0), data)).outcome is ChunkOutcome.UNAVAILABLE
    assert (await app.put(init.upload_url, plan.chunk(0), data)).outcome is ChunkOutcome.STORED
    assert (await app.put(init.upload_url, plan.chunk(0), data)).outcome is ChunkOutcome.OUT_OF_STEP
    await app.driver.fault("upload", lost_answer=True)
    with pytest.raises(TikTokUnavailable):
        await app.put(init.upload_url, plan.chunk(1), data)
    offset = await stored()
    assert offset == 20_000_000
    for chunk in plan.chunks_from(offset):
        result = await app.put(init.upload_url, chunk, data)
    assert result.outcome is ChunkOutcome.COMPLETE
    (item,) = await app.driver.ledger()
    assert item["sha256"] == hashlib.sha256(data).hexdigest()
    gone = await app.put(init.upload_url.replace("upload_id=", "upload_id=9"), plan.chunk(0), data)
    assert gone.outcome is ChunkOutcome.UNKNOWN_UPLOAD


async def test_a_source_that_gives_too_little_stores_nothing(app: App) -> None:
    grant = await app.connect()
    init = await app.posting.init_video(grant.access_token, PostInfo(privacy_level="SELF_ONLY"), FileSource(plan_chunks(1000)))
    for data in (bytes(500), bytes(1500)):
        with pytest.raises(BodyLengthMismatch):
            await put_chunk(app.driver.http, init.upload_url, 0, 999, 1000, pieces(data, 400), "video/mp4")
    assert (await app.posting.status(grant.access_token, init.publish_id)).uploaded_bytes == 0


async def test_a_kept_connection_that_breaks_is_no_fault_of_the_source(app: App) -> None:
    grant = await app.connect()
    plan = plan_chunks(SIZE)
    data = bytes(SIZE)
    init = await app.posting.init_video(grant.access_token, PostInfo(privacy_level="SELF_ONLY"), FileSource(plan))
    for order in ({"drop": True}, {"drop": True, "delay_at": "body"}):
        await app.posting.creator_info(grant.access_token)
        await app.driver.fault("upload", **order)
        with pytest.raises(TikTokUnavailable) as caught:
            await app.put(init.upload_url, plan.chunk(0), data)
        assert caught.value.sent
    status = await app.posting.status(grant.access_token, init.publish_id)
    assert status.uploaded_bytes == 0
    assert (await app.put(init.upload_url, plan.chunk(0), data)).outcome is ChunkOutcome.STORED


async def test_a_source_that_fails_is_no_fault_of_tiktoks(app: App) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(500)
        raise FileNotFoundError("media")

    grant = await app.connect()
    init = await app.posting.init_video(grant.access_token, PostInfo(privacy_level="SELF_ONLY"), FileSource(plan_chunks(1000)))
    with pytest.raises(FileNotFoundError, match="media"):
        await put_chunk(app.driver.http, init.upload_url, 0, 999, 1000, broken(), "video/mp4")
    assert (await app.posting.status(grant.access_token, init.publish_id)).uploaded_bytes == 0
