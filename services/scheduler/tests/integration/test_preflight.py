"""Checks before the due time: what would fail then shows now, once, by whichever replica, and never holds up what is due."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from common.clock import rfc3339, utc_now
from common.contracts.registry import parse
from common.contracts.scheduler import PostUpdated
from common.database.migrate import upgrade
from common.http.client import ServiceClient
from common.ids import uuid7
from common.testing.keys import ServiceKeys
from scheduler.clients.account_grants import AccountGrants
from scheduler.clients.accounts import AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.post import Post
from scheduler.loops.preflight import FULL_PAUSE_S, Preflight
from scheduler.storage.claim import ClaimLimits
from scheduler.storage.preflight import PreflightLimits, take_unchecked
from scheduler.usecases.apply_account_event import follow_one_account
from scheduler.usecases.check_before_due import ChecksBeforeDue
from scheduler.usecases.claim_due_posts import claim_due_posts
from scheduler.usecases.surroundings import Surveyor

pytestmark = pytest.mark.integration

LIMITS = PreflightLimits(again_after=timedelta(0), lease=timedelta(0))
INFO = {"privacy_level_options": ["PUBLIC_TO_EVERYONE"], "max_video_post_duration_sec": 600}


@dataclass
class Desk:
    """A user's account, file and post that is due in five minutes, and neighbours that answer as told."""

    world: Any
    checks: ChecksBeforeDue
    user_id: UUID
    account_id: UUID
    media_id: UUID
    object: Path
    account_answer: Any
    creator_answer: Any
    asked: list[str]

    async def post(self, **fields: Any) -> Post:
        due = utc_now() + timedelta(minutes=5)
        values = {
            "user_id": self.user_id,
            "account_id": self.account_id,
            "media_id": self.media_id,
            "scheduled_time": due,
            "next_attempt_at": due,
            "publish_before": due + timedelta(days=1),
            **fields,
        }
        post: Post = await self.world.post(**values)
        return post

    async def check(self) -> int:
        """Make the checks as after a minute: what was remembered is asked again."""
        self.checks.surveyor.creators.remembered.forget()
        return await self.checks.check_batch()

    async def codes(self, post: Post) -> list[str]:
        return [warning["code"] for warning in (await self.world.reload(post)).warnings]


def account_body(desk: Desk, **fields: Any) -> dict[str, Any]:
    body = {"id": str(desk.account_id), "username": "ann", "status": "active", "version": 1}
    return {**body, "grant_expires_at": rfc3339(utc_now() + timedelta(days=300)), **fields}


@pytest_asyncio.fixture(loop_scope="session")
async def desk(world: Any, service_keys: ServiceKeys, tmp_path: Path) -> Any:
    account = await world.account()
    media_id = await world.media(account.user_id)
    path = tmp_path / "media" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(b"x")
    made: list[Desk] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        desk = made[0]
        is_info = request.url.path.endswith("/creator-info")
        desk.asked.append("creator" if is_info else "account")
        told = desk.creator_answer if is_info else desk.account_answer
        if callable(told):
            told = await told()
        status, body = told
        if status == 200 and not is_info:
            body = {**body, "id": request.url.path.rsplit("/", 1)[1]}
        kind = "application/problem+json" if status >= 400 else "application/json"
        return httpx.Response(status, json=body, headers={"content-type": kind})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = ServiceClient(http, "http://accounts", audience="accounts", signer=service_keys.signer("scheduler"))
        accounts, creators = AccountsClient(client), CreatorOptions(client)
        surveyor = Surveyor(world.database, accounts, creators, AccountGrants(accounts))
        storage = ObjectStorage(f"file://{tmp_path}")
        checks = ChecksBeforeDue(world.database, world.outbox, surveyor, accounts, storage, frozenset(), LIMITS)
        desk = Desk(world, checks, account.user_id, account.id, media_id, path, None, (200, INFO), [])
        desk.account_answer = (200, account_body(desk))
        made.append(desk)
        yield desk


async def test_a_post_in_order_is_checked_once_and_nobody_is_told(desk: Desk) -> None:
    post = await desk.post()
    assert (await desk.check(), await desk.check()) == (1, 0)
    now = await desk.world.reload(post)
    assert (now.version, now.warnings, now.checked_version, now.check_after) == (post.version, [], post.version, None)
    assert await desk.world.told() == []


async def test_a_change_of_the_post_has_it_checked_anew(desk: Desk) -> None:
    await desk.post()
    await desk.check()
    await desk.world.execute("UPDATE posts SET version = version + 1")
    assert (await desk.check(), await desk.check()) == (1, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "draft"},
        {"status": "due"},
        {"status": "cancelled"},
        {"held": True, "held_reason": "account_paused"},
        {"next_attempt_at": timedelta(minutes=20)},
        {"next_attempt_at": timedelta(minutes=-1)},
    ],
)
async def test_what_is_not_due_soon_is_left_alone(desk: Desk, fields: dict[str, Any]) -> None:
    from_now = {name: utc_now() + value if isinstance(value, timedelta) else value for name, value in fields.items()}
    await desk.post(**from_now)
    assert await desk.check() == 0
    assert desk.asked == []


PROBLEM = {"type": "about:blank", "detail": "TikTok says so.", "hint": "Wait."}


def break_grant(desk: Desk) -> None:
    desk.account_answer = (200, account_body(desk, grant_expires_at=rfc3339(utc_now() + timedelta(minutes=4))))


def lose_account(desk: Desk) -> None:
    desk.account_answer = (404, {**PROBLEM, "status": 404, "code": "account_not_found"})


def reach_cap(desk: Desk) -> None:
    desk.creator_answer = (409, {**PROBLEM, "status": 409, "code": "tiktok_spam_risk_too_many_posts"})


def take_privacy(desk: Desk) -> None:
    desk.creator_answer = (200, {**INFO, "privacy_level_options": ["SELF_ONLY"]})


def shorten(desk: Desk) -> None:
    desk.creator_answer = (200, {**INFO, "max_video_post_duration_sec": 14})


def lose_object(desk: Desk) -> None:
    desk.object.unlink()


@pytest.mark.parametrize(
    ("spoil", "field", "code"),
    [
        (break_grant, "tiktok_account_id", "grant_ends_before_due"),
        (lose_account, "tiktok_account_id", "account_not_found"),
        (reach_cap, "tiktok_account_id", "tiktok_spam_risk_too_many_posts"),
        (take_privacy, "privacy_level", "privacy_not_available"),
        (shorten, "media_id", "video_too_long_for_creator"),
        (lose_object, "media_id", "media_lost"),
    ],
)
async def test_a_problem_shows_once_and_goes_when_it_is_gone(
    desk: Desk, spoil: Callable[[Desk], None], field: str, code: str
) -> None:
    post = await desk.post()
    spoil(desk)
    for _ in range(2):
        assert await desk.check() == 1
    (warning,) = (await desk.world.reload(post)).warnings
    assert (warning["field"], warning["code"]) == (field, code)
    assert warning["message"]
    (told,) = await desk.world.told()
    assert (told.key, told.sequence_number, told.userid) == ("scheduler.post.updated.v1", post.version + 1, post.user_id)
    assert parse(told, PostUpdated).changes == {"warnings": [[], [warning]]}

    desk.account_answer, desk.creator_answer = (200, account_body(desk)), (200, INFO)
    desk.object.write_bytes(b"x")
    assert (await desk.check(), await desk.check()) == (1, 0)
    assert await desk.codes(post) == []
    assert [parse(told, PostUpdated).changes["warnings"][1] for told in await desk.world.told()] == [[warning], []]


async def test_a_file_that_was_deleted_is_told(desk: Desk) -> None:
    post = await desk.post()
    await desk.world.execute("UPDATE media SET deleted_at = now()")
    await desk.check()
    assert await desk.codes(post) == ["media_not_found"]


async def test_another_problem_takes_the_place_of_the_first(desk: Desk) -> None:
    post = await desk.post()
    lose_object(desk)
    await desk.check()
    desk.object.write_bytes(b"x")
    reach_cap(desk)
    await desk.check()
    assert await desk.codes(post) == ["tiktok_spam_risk_too_many_posts"]


@pytest.mark.parametrize("away", ["account_answer", "creator_answer"])
async def test_while_others_are_away_what_is_known_stays_and_they_are_asked_again(desk: Desk, away: str) -> None:
    post = await desk.post()
    lose_object(desk)
    await desk.check()
    setattr(desk, away, (502, {**PROBLEM, "status": 502, "code": "tiktok_unavailable"}))
    await desk.check()
    assert "media_lost" in await desk.codes(post)
    desk.object.write_bytes(b"x")
    await desk.check()
    assert "media_lost" in await desk.codes(post)
    desk.account_answer, desk.creator_answer = (200, account_body(desk)), (200, INFO)
    await desk.check()
    assert await desk.codes(post) == []
    assert await desk.check() == 0


async def test_an_account_that_stopped_unheard_is_noted_and_its_posts_are_held(desk: Desk) -> None:
    post = await desk.post()
    desk.account_answer = (200, account_body(desk, status="expired", version=5))
    await desk.check()
    async with desk.world.database.transaction() as tx:
        assert await follow_one_account(tx, desk.world.outbox, desk.world.waker)
    assert ((await desk.world.reload(post)).held, await desk.check()) == (True, 0)
    assert [told.key for told in await desk.world.told()] == ["scheduler.post.held.v1"]


async def test_replicas_share_the_posts_and_ask_once_for_each_account(desk: Desk) -> None:
    for _ in range(30):
        await desk.post()
    checks = replace(desk.checks, limits=replace(LIMITS, batch=10, lease=timedelta(minutes=1)))
    taken = [count for count in await asyncio.gather(*(checks.check_batch() for _ in range(4))) if count]
    # A row that another replica takes at that very moment may leave a batch one short; the next look has what is left.
    taken += [count for count in [await checks.check_batch()] if count]
    assert (sum(taken), max(taken)) == (30, 10)
    assert desk.asked.count("account") == len(taken)
    assert desk.asked.count("creator") <= len(taken)


async def test_a_replica_that_dies_loses_no_check(desk: Desk) -> None:
    await desk.post()
    limits = replace(LIMITS, lease=timedelta(minutes=1))
    async with desk.world.database.transaction() as tx:
        assert len(await take_unchecked(tx.connection, limits)) == 1
    assert await desk.check() == 0
    await desk.world.execute("UPDATE posts SET check_after = now() - interval '1 second'")
    assert await desk.check() == 1


async def test_what_becomes_due_while_others_are_asked_is_claimed_and_not_touched(desk: Desk) -> None:
    """No row is locked while TikTok is asked, and findings about what has left meanwhile are dropped."""
    post = await desk.post()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> tuple[int, Any]:
        reached.set()
        await go_on.wait()
        return 200, {**INFO, "privacy_level_options": []}

    desk.creator_answer = slow
    checking = asyncio.create_task(desk.check())
    await asyncio.wait_for(reached.wait(), 5)
    await desk.world.execute("UPDATE posts SET next_attempt_at = now()")
    async with desk.world.database.transaction() as tx:
        assert (await claim_due_posts(tx, desk.world.outbox, ClaimLimits())).posts == 1
    go_on.set()
    assert await asyncio.wait_for(checking, 5) == 1
    now = await desk.world.reload(post)
    assert (now.status, now.warnings, now.version) == ("due", [], post.version + 1)
    assert [told.key for told in await desk.world.told()] == ["scheduler.post.due.v1"]


async def test_who_never_answers_does_not_hold_up_the_next_batch(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.usecases.check_before_due.ASK_SECONDS", 0.1)
    post = await desk.post()

    async def never() -> tuple[int, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    desk.account_answer = never
    lose_object(desk)
    assert await asyncio.wait_for(desk.check(), 5) == 1
    assert await desk.codes(post) == ["media_lost"]


@pytest.mark.parametrize("hanging", ["creator", "account"])
async def test_users_whose_neighbours_hang_do_not_hold_up_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    """As many as are judged at once: each leaves its place after its time."""
    monkeypatch.setattr("scheduler.usecases.check_before_due.ASK_SECONDS", 1.5)
    monkeypatch.setattr("scheduler.usecases.check_before_due.USER_SECONDS", 1.5)
    hung = [await desk.world.account() for _ in range(2)]
    for account in hung:
        await desk.post(user_id=account.user_id, account_id=account.id)
    last = await desk.post(next_attempt_at=utc_now() + timedelta(minutes=6))
    lose_object(desk)
    original, entered = Surveyor.look_around, list[UUID]()

    async def look_around(self: Surveyor, wanted: Any, user_id: UUID) -> Any:
        if user_id != desk.user_id:
            entered.append(user_id)
            await asyncio.Event().wait()
        return await original(self, wanted, user_id)

    if hanging == "creator":
        monkeypatch.setattr(Surveyor, "look_around", look_around)
    else:
        monkeypatch.setattr(AccountsClient, "look_up", _only_for(desk))
    checks = replace(desk.checks, limits=replace(LIMITS, parallel=2, again_after=timedelta(minutes=1)))
    assert await checks.check_batch() == 3
    assert await desk.codes(last) == ["media_lost"]
    assert len(entered) == (2 if hanging == "creator" else 0)
    # They are looked at again in their turn, not at once.
    assert await checks.check_batch() == 0


def _only_for(desk: Desk) -> Any:
    original = AccountsClient.look_up

    async def look_up(self: AccountsClient, user_id: UUID, account_id: UUID, **arguments: Any) -> Any:
        if user_id != desk.user_id:
            await asyncio.Event().wait()
        return await original(self, user_id, account_id, **arguments)

    return look_up


async def test_a_batch_that_takes_too_long_is_given_up_where_it_stands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.usecases.check_before_due.JUDGE_SECONDS", 0.2)
    post = await desk.post()
    hangs = asyncio.Event()

    async def hang(*_: object) -> None:
        hangs.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Surveyor, "look_around", hang)
    assert await desk.check() == 1
    assert hangs.is_set()
    assert (await desk.world.reload(post)).warnings == []
    monkeypatch.undo()
    assert (await desk.check(), await desk.check()) == (1, 0)


@pytest.mark.parametrize(
    "column", ["privacy_level = 'NOBODY'", "hashtags = '[1]'", "mode = 'carrier pigeon'", "caption = repeat('x', 30000)"]
)
async def test_a_row_that_cannot_be_read_says_so_and_loses_no_other_its_checks(desk: Desk, column: str) -> None:
    """Neither another post of the same user nor those of others; at its time the claim would fail it."""
    bad, good = await desk.post(), await desk.post()
    other = await desk.world.account()
    stranger = await desk.post(user_id=other.user_id, account_id=other.id)
    await desk.world.execute(f"UPDATE posts SET {column} WHERE id = :id", id=bad.id)
    lose_object(desk)
    assert await desk.check() == 3
    assert (await desk.codes(bad), await desk.codes(good)) == (["post_unreadable"], ["media_lost"])
    assert await desk.codes(stranger) == ["media_not_found"]
    assert await desk.check() == 3
    assert len(await desk.world.told()) == 3


async def test_full_batches_are_spread_over_time(desk: Desk) -> None:
    for _ in range(3):
        await desk.post()
    loop = Preflight(replace(desk.checks, limits=replace(LIMITS, batch=2)))
    first, second = await loop.step(), await loop.step()
    assert (first.done, first.more, first.next_in) == (2, False, FULL_PAUSE_S)
    assert (second.done, second.more, second.next_in) == (1, False, None)


async def test_waiting_posts_of_before_are_checked_too(empty_database: Any) -> None:
    url = await empty_database("preflight_before")
    await upgrade("scheduler", url, "0002")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO posts (id, user_id, status, mode, transfer, next_attempt_at)"
            " SELECT gen_random_uuid(), $1, 'scheduled', 'direct', 'upload', now() FROM generate_series(1, 3)",
            uuid7(),
        )
        await upgrade("scheduler", url)
        unchecked = "SELECT count(*) FROM posts WHERE checked_version <> version"
        assert await connection.fetchval(unchecked) == 3
    finally:
        await connection.close()


async def test_with_the_storage_away_the_file_is_not_called_lost(desk: Desk) -> None:
    post = await desk.post()
    gone = ObjectStorage(f"file://{desk.object.parent}/not-mounted")
    assert await replace(desk.checks, storage=gone).check_batch() == 1
    assert await desk.codes(post) == []
    assert (await desk.check(), await desk.check()) == (1, 0)


async def test_an_account_nobody_knows_while_accounts_is_away_is_asked_about_later(desk: Desk) -> None:
    post = await desk.post(account_id=uuid7())
    desk.account_answer = (503, {**PROBLEM, "status": 503, "code": "unavailable"})
    assert (await desk.check(), await desk.check()) == (1, 1)
    assert await desk.codes(post) == []


async def test_a_mistake_of_our_own_is_not_taken_for_an_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.post()

    async def broken(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(AccountsClient, "look_up", broken)
    with pytest.raises(TypeError):
        await desk.check()
