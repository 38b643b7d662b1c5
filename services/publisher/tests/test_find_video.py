"""The creator's list of videos tells what TikTok's status does not: only a video that can be no other post's counts."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from common.testing.eventually import eventually
from publisher.domain.job import State
from publisher.domain.tiktok_limits import VIDEO_LIST
from tiktok_simulator.media_host import MediaHost, media_host

STATUS = "/v2/post/publish/status/fetch/"
LIST = "/v2/video/list/"
QUERY = "/v2/video/query/"
INIT = "/v2/post/publish/video/init/"
DATA = bytes(range(256)) * 4_000
CAPTION = "Launch day #fun"
LONG_BEFORE = "irrevocable_since = irrevocable_since - interval '53 hours'"


@pytest.fixture
def simulator_changes() -> dict[str, Any]:
    return {"pull_loopback": True}


@pytest.fixture(autouse=True)
def permission(world: Any) -> None:
    world.accounts.scopes = ("video.publish", "video.list")


@pytest_asyncio.fixture(loop_scope="session")
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


def post_of(world: Any, account: Any, **content: Any) -> Any:
    media = world.media().model_copy(update={"duration_ms": 1_000})
    return world.post(account, media, content={"title": CAPTION, **content})


async def published(world: Any, *posts: Any) -> None:
    """Publish posts of which TikTok's status never names the video."""
    await world.driver.fault("processing", hide_post_id=True, times=len(posts))
    async with world.replica():
        await world.accept(*posts)
        for post in posts:
            await world.state(post, State.SUCCEEDED)
            await eventually(lambda post=post: rests(world, post))


async def unconfirmed(world: Any, *posts: Any) -> None:
    """Publish posts, and forget that they were: TikTok does not know their publication any more."""
    await published(world, *posts)
    await world.driver.fault(STATUS, status=400, code="invalid_publish_id", times=1_000)
    for post in posts:
        await change(world, post, "state = 'unconfirmed', outcome = NULL, tiktok_video_id = NULL, tiktok_status = NULL")


async def change(world: Any, post: Any, values: str) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text(f"UPDATE publish_jobs SET {values}, run_at = now() + interval '1 hour', polls = 0 WHERE post_id = :id"),
            {"id": post.post_id},
        )


async def look(world: Any, post: Any, **settings: Any) -> Any:
    """Let the post be looked at once; returns its job after it."""
    before = (await world.job(post)).sequence
    async with world.replica(**settings):
        await world.due_now(post)
        await eventually(lambda: looked(world, post, before))
        return await world.job(post)


async def looked(world: Any, post: Any, before: int) -> bool:
    job = await world.job(post)
    return bool(job.lease_owner is None and job.sequence > before)


async def rests(world: Any, post: Any) -> bool:
    return (await world.job(post)).lease_owner is None


async def video_of(world: Any, post: Any) -> str:
    (item,) = await world.publications(post)
    return str(item["post_id"])


async def asked_for_videos(world: Any) -> bool:
    return LIST in (await world.driver.stats())["requests"]


async def test_an_id_that_the_status_never_names(world: Any) -> None:
    post = post_of(world, await world.account())
    await published(world, post)
    job = await look(world, post)
    assert (job.tiktok_video_id, job.run_at) == (await video_of(world, post), None)
    identified = await world.event(post, "identified")
    assert (identified["evidence"], identified["tiktok_video_id"]) == ("video_list", job.tiktok_video_id)


async def test_an_unknown_outcome_is_settled_with_the_time_of_the_video(world: Any) -> None:
    post = post_of(world, await world.account())
    await unconfirmed(world, post)
    job = await look(world, post)
    assert (job.checkpoint.state, job.tiktok_video_id) == (State.SUCCEEDED, await video_of(world, post))
    told = [event.data for event in await world.events(post) if event.key.endswith("succeeded.v1")][-1]
    assert told["evidence"] == "video_list"
    assert abs(datetime.fromisoformat(told["published_at"]) - datetime.now(UTC)) < timedelta(minutes=2)


async def test_what_went_out_as_public_is_looked_for_in_sandbox_mode_too(world: Any) -> None:
    post = post_of(world, await world.account())
    await unconfirmed(world, post)
    job = await look(world, post, tiktok_sandbox_mode=True)
    assert (job.checkpoint.state, job.tiktok_video_id) == (State.SUCCEEDED, await video_of(world, post))


@pytest.mark.parametrize("simulator_changes", [{"video_page_max": 1}])
async def test_two_that_look_alike_stay_unknown_and_say_what_was_found(world: Any) -> None:
    """Also when the pages of the list are shorter than was asked for."""
    account = await world.account()
    posts = [post_of(world, account), post_of(world, account)]
    await unconfirmed(world, *posts)
    for _ in range(2):
        job = await look(world, posts[0])
        assert job.checkpoint.state is State.UNCONFIRMED
        assert job.reason["code"] == "possible_videos"
    items = await world.driver.ledger()
    assert all(item["post_id"] in job.reason["message"] for item in items)
    assert await possible_videos(world, posts[0]) == {item["post_id"] for item in items}
    assert (await world.told(posts[0])).count("unconfirmed") == 1
    # Once one of them is somebody's, the other one is certain.
    await change(world, posts[1], f"state = 'succeeded', outcome = 'published', tiktok_video_id = '{items[1]['post_id']}'")
    assert (await look(world, posts[0])).tiktok_video_id == items[0]["post_id"]


async def test_videos_that_may_be_it_are_those_of_the_last_list_that_could_be_read(world: Any) -> None:
    account = await world.account()
    posts = [post_of(world, account), post_of(world, account)]
    await unconfirmed(world, *posts)
    await look(world, posts[0])
    found = await possible_videos(world, posts[0])
    assert len(found) == 2
    await world.driver.fault(LIST, status=401, code="scope_not_authorized")
    await look(world, posts[0])
    assert await possible_videos(world, posts[0]) == found
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("DELETE FROM tiktok_quotas"))
    await world.spend(account, VIDEO_LIST)
    job = await look(world, posts[0])
    assert (job.awaits_quota, await possible_videos(world, posts[0])) == (VIDEO_LIST.name, found)
    await world.pass_time(61)
    for item in await world.driver.ledger():
        await world.driver.admin("DELETE", f"posts/{item['post_id']}")
    await look(world, posts[0])
    assert await possible_videos(world, posts[0]) == set()


async def test_of_a_failure_that_a_webhook_denied_the_video_is_shown_and_settles_nothing(world: Any) -> None:
    """Whoever saw that it failed may have posted it by hand."""
    post = post_of(world, await world.account())
    await unconfirmed(world, post)
    await change(world, post, "state = 'failed', tiktok_status = 'FAILED'")
    job = await look(world, post)
    assert (job.checkpoint.state, job.run_at) == (State.FAILED, None)
    assert await possible_videos(world, post) == {await video_of(world, post)}
    assert (await world.told(post))[-1] == "succeeded"


async def possible_videos(world: Any, post: Any) -> set[str]:
    async with world.database.read() as connection:
        statement = text("SELECT possible_videos FROM publish_jobs WHERE post_id = :id")
        return set(await connection.scalar(statement, {"id": post.post_id}))


async def test_a_video_that_another_attempt_may_have_made_is_nobodys(world: Any) -> None:
    """One video, two attempts of unknown outcome with the same caption: it may be either's."""
    account = await world.account()
    live, lost = post_of(world, account), post_of(world, account)
    await unconfirmed(world, live, lost)
    (item,) = [item for item in await world.driver.ledger() if item["publish_id"] == (await world.job(lost)).publish_id]
    await world.driver.admin("DELETE", f"posts/{item['post_id']}")
    assert (await look(world, live)).checkpoint.state is State.UNCONFIRMED
    await change(world, lost, "state = 'failed'")
    assert (await look(world, live)).checkpoint.state is State.SUCCEEDED


async def test_a_video_that_a_webhook_named_for_another_publication_is_taken(world: Any) -> None:
    post = post_of(world, await world.account())
    await unconfirmed(world, post)
    await world.webhook(post, "publicly_available", publish_id="v~other", post_id=await video_of(world, post))
    assert (await look(world, post)).checkpoint.state is State.UNCONFIRMED


@pytest.mark.parametrize(
    ("scopes", "content"),
    [
        (("video.publish",), {}),
        (("video.list",), {"privacy_level": "SELF_ONLY"}),
        (("video.list",), {"title": ""}),
    ],
)
async def test_what_the_list_cannot_tell_is_not_asked(world: Any, scopes: tuple[str, ...], content: dict[str, Any]) -> None:
    world.accounts.scopes = scopes
    post = world.post(await world.account(), world.media(), content={"title": CAPTION, **content})
    await world.driver.fault("processing", stuck=True)
    async with world.replica(unconfirmed_after_seconds=0.2):
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
        await eventually(lambda: rests(world, post))
    assert (await look(world, post)).checkpoint.state is State.UNCONFIRMED
    assert not await asked_for_videos(world)


@pytest.mark.parametrize("fault", [{"status": 500, "times": 3}, {"status": 429, "code": "rate_limit_exceeded"}])
async def test_a_list_that_tiktok_does_not_give_is_asked_for_again(world: Any, fault: dict[str, Any]) -> None:
    post = post_of(world, await world.account())
    await unconfirmed(world, post)
    await world.driver.fault(LIST, **fault)
    job = await look(world, post)
    assert (job.checkpoint.state, job.checkpoint.polls, job.checkpoint.deferrals) == (State.UNCONFIRMED, 0, 1)
    assert (await look(world, post)).checkpoint.state is State.SUCCEEDED


async def test_a_list_that_tiktok_refuses_leaves_the_rest_as_it_is(world: Any) -> None:
    post = post_of(world, await world.account())
    await unconfirmed(world, post)
    await world.driver.fault(LIST, status=401, code="scope_not_authorized")
    job = await look(world, post)
    assert (job.checkpoint.state, job.checkpoint.polls) == (State.UNCONFIRMED, 1)


async def test_a_list_that_is_too_long_is_certain_of_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from publisher.runner.steps import find_video

    account = await world.account()
    posts = [post_of(world, account, title=f"{CAPTION} {number}") for number in range(3)]
    await unconfirmed(world, *posts)
    monkeypatch.setattr(find_video, "MAX_PAGES", 0)
    assert (await look(world, posts[0])).checkpoint.state is State.UNCONFIRMED
    monkeypatch.setattr(find_video, "MAX_PAGES", 5)
    await world.spend(account, VIDEO_LIST)
    assert (await look(world, posts[0])).checkpoint.state is State.UNCONFIRMED
    await world.pass_time(61)
    assert (await look(world, posts[0])).checkpoint.state is State.SUCCEEDED


async def test_attempts_that_are_too_many_or_cannot_be_read_leave_nothing_certain(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from publisher.storage import rivals

    account = await world.account()
    post, other = post_of(world, account), post_of(world, account, title="Something else")
    await unconfirmed(world, post, other)
    monkeypatch.setattr(rivals, "MANY", 0)
    assert (await look(world, post)).checkpoint.state is State.UNCONFIRMED
    monkeypatch.setattr(rivals, "MANY", 200)
    await change(world, other, "post = jsonb_set(post, '{mode}', '\"unheard\"')")
    assert (await look(world, post)).checkpoint.state is State.UNCONFIRMED
    await change(world, other, LONG_BEFORE)
    assert (await look(world, post)).checkpoint.state is State.SUCCEEDED


async def test_a_list_is_read_back_to_the_time_of_the_post(world: Any) -> None:
    """Many newer videos: the second page has it."""
    account = await world.account()
    post = post_of(world, account)
    await unconfirmed(world, post)
    token = world.accounts.tokens[account]["access_token"]
    ledger = world.simulator.state.ledger
    publication = ledger.get((await world.job(post)).publish_id)
    for _ in range(25):
        world.simulator.state.feed.publish(publication, "newer", "PUBLIC_TO_EVERYONE")
    shown = await world.driver.http.post(
        f"{world.driver.base_url}{LIST}?fields=id", json={"max_count": 20}, headers={"Authorization": f"Bearer {token}"}
    )
    assert shown.json()["data"]["has_more"]
    assert (await look(world, post)).checkpoint.state is State.SUCCEEDED


async def lost_pull(world: Any, host: MediaHost, account: Any, title: str = CAPTION, **changes: Any) -> Any:
    """Return a pull that TikTok made a video of, whose init was never answered."""
    url = host.put(f"/{title}.mp4".replace(" ", "").replace("#", ""), DATA)
    content = {"title": title} | changes.pop("content", {})
    post = world.post(account, None, transfer="pull", source_url=url, content=content, **changes)
    before = len(await world.driver.ledger())
    await world.driver.fault(INIT, lost_answer=True)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
        await eventually(lambda: rests(world, post))
    await eventually(lambda: _complete(world, before + 1))
    await change(world, post, "state = 'unconfirmed'")
    return post


async def _complete(world: Any, count: int) -> bool:
    return [item["status"] for item in await world.driver.ledger()].count("PUBLISH_COMPLETE") == count


async def test_a_lost_init_is_settled_by_the_list(world: Any, host: MediaHost) -> None:
    post = await lost_pull(world, host, await world.account())
    job = await look(world, post)
    (item,) = await world.driver.ledger()
    assert (job.checkpoint.state, job.tiktok_video_id, job.publish_id) == (State.SUCCEEDED, item["post_id"], None)
    assert (await world.event(post, "succeeded"))["publish_id"] is None


async def test_a_lost_init_is_settled_by_the_webhook_of_the_publication_that_nobody_knows(world: Any, host: MediaHost) -> None:
    world.accounts.scopes = ()
    post = await lost_pull(world, host, await world.account())
    (item,) = await world.driver.ledger()
    assert await world.webhook(post, "complete", publish_id=item["publish_id"]) == 1
    job = await look(world, post)
    assert (job.checkpoint.state, job.publish_id, job.tiktok_video_id) == (
        State.SUCCEEDED, item["publish_id"], item["post_id"],
    )  # fmt: skip


async def test_an_unknown_publication_that_says_something_else_is_not_adopted(world: Any, host: MediaHost) -> None:
    account = await world.account()
    post = await lost_pull(world, host, account)
    (item,) = await world.driver.ledger()
    content = '\'{"title": "Another caption", "privacy_level": "PUBLIC_TO_EVERYONE"}\''
    await change(world, post, f"post = jsonb_set(post, '{{content}}', {content})")
    assert await world.webhook(post, "complete", publish_id=item["publish_id"]) == 1
    job = await look(world, post)
    assert (job.checkpoint.state, job.publish_id) == (State.UNCONFIRMED, None)


@pytest.mark.parametrize(
    ("content", "is_adopted"), [({}, False), ({"privacy_level": "SELF_ONLY"}, True), ({"title": ""}, True)]
)
async def test_a_public_publication_without_a_video_to_see_is_not_adopted(
    world: Any, host: MediaHost, content: dict[str, Any], is_adopted: bool
) -> None:
    """Its caption could be seen, once TikTok names the video; that of a private one never can, and one without tells nothing."""
    await world.driver.fault("processing", hide_post_id=True)
    post = await lost_pull(world, host, await world.account(), content=content)
    (item,) = await world.driver.ledger()
    await world.driver.fault(LIST, status=401, code="scope_not_authorized", times=10)
    await world.webhook(post, "complete", publish_id=item["publish_id"])
    job = await look(world, post)
    assert (job.checkpoint.state is State.SUCCEEDED, job.publish_id is not None) == (is_adopted, is_adopted)


@pytest.mark.parametrize("why", ["two attempts", "two publications", "a draft", "too early", "unfinished", "failed"])
async def test_what_may_be_anothers_is_not_adopted(world: Any, host: MediaHost, why: str) -> None:
    world.accounts.scopes = ()
    account = await world.account()
    post = await lost_pull(world, host, account)
    (item,) = await world.driver.ledger()
    known = {"publish_id": item["publish_id"]}
    match why:
        case "two attempts":
            other = await lost_pull(world, host, account, "Another one")
            assert await world.webhook(post, "complete", **known) == 2
        case "two publications":
            await world.webhook(post, "complete", **known)
            await world.webhook(post, "complete", publish_id="v_pub_url~v2-1.other")
        case "a draft":
            await world.webhook(post, "complete", publish_type="INBOX_SHARE", **known)
        case "too early":
            await world.webhook(post, "complete", at=datetime.now(UTC) - timedelta(hours=1), **known)
        case "unfinished":
            publication = world.simulator.state.ledger.get(item["publish_id"])
            publication.status = "PROCESSING_DOWNLOAD"
            await world.webhook(post, "complete", **known)
        case _:
            await world.webhook(post, "failed", reason="internal", **known)
    job = await look(world, post)
    assert (job.checkpoint.state, job.publish_id) == (State.UNCONFIRMED, None)
    if why == "two attempts":
        await change(world, other, LONG_BEFORE)
        assert await world.webhook(post, "complete", **known) == 1
        assert (await look(world, post)).checkpoint.state is State.SUCCEEDED


async def test_a_quota_that_is_used_up_adopts_nothing_yet(world: Any, host: MediaHost) -> None:
    from publisher.domain.tiktok_limits import STATUS as STATUS_LIMIT

    world.accounts.scopes = ()
    post = await lost_pull(world, host, await world.account())
    (item,) = await world.driver.ledger()
    await world.webhook(post, "complete", publish_id=item["publish_id"])
    await world.spend(post.account_id, STATUS_LIMIT)
    assert (await look(world, post)).checkpoint.state is State.UNCONFIRMED
    await world.pass_time(61)
    assert (await look(world, post)).checkpoint.state is State.SUCCEEDED
