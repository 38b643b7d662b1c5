"""A desk at which posts are checked before their due time: a user with account and file, and neighbours that answer as told."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest_asyncio

from common.clock import rfc3339, utc_now
from common.http.client import ServiceClient
from common.testing.keys import ServiceKeys
from scheduler.clients.account_grants import AccountGrants
from scheduler.clients.accounts import AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.daily_caps import DailyCaps
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.post import Post
from scheduler.storage.preflight import PreflightLimits
from scheduler.usecases.check_before_due import ChecksBeforeDue
from scheduler.usecases.stored_files import StoredFiles
from scheduler.usecases.surroundings import Surveyor

LIMITS = PreflightLimits(again_after=timedelta(0), lease=timedelta(0))


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
    day_answer: Any
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
        for remembered in (self.checks.surveyor.creators.remembered, *self.checks.surveyor.days.remembered.values()):
            remembered.forget()
        return await self.checks.check_batch()

    def account(self, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Return the answer about the user's account, with other `fields`."""
        body = {"id": str(self.account_id), "username": "ann", "status": "active", "version": 1}
        return 200, {**body, "grant_expires_at": rfc3339(utc_now() + timedelta(days=300)), **fields}

    def creator(self, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Return the answer about what the creator may post, with other `fields`."""
        return 200, {"privacy_level_options": ["PUBLIC_TO_EVERYONE"], "max_video_post_duration_sec": 600, **fields}

    def day(self, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Return the publisher's answer about the account's day, with other `fields`."""
        return 200, {"allowed": 1000, "window_seconds": 86_460.0, "moments": [], "not_before": None, **fields}

    def mend(self) -> None:
        """Have everything in order (again)."""
        self.account_answer, self.creator_answer, self.day_answer = self.account(), self.creator(), self.day()
        self.object.write_bytes(b"x")

    async def codes(self, post: Post) -> list[str]:
        return [warning["code"] for warning in (await self.world.reload(post)).warnings]


@pytest_asyncio.fixture(loop_scope="session")
async def desk(world: Any, service_keys: ServiceKeys, tmp_path: Path) -> Any:
    account = await world.account()
    media_id = await world.media(account.user_id)
    path = tmp_path / "media" / "a.mp4"
    path.parent.mkdir()
    made: list[Desk] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        desk = made[0]
        if request.url.path.endswith("/day"):
            return httpx.Response(desk.day_answer[0], json=desk.day_answer[1])
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
        storage = ObjectStorage(f"file://{tmp_path}")
        files = StoredFiles(world.database, storage)
        surveyor = Surveyor(world.database, accounts, creators, AccountGrants(accounts), files, DailyCaps(client))
        checks = ChecksBeforeDue(world.database, world.outbox, surveyor, accounts, storage, frozenset(), LIMITS)
        desk = Desk(world, checks, account.user_id, account.id, media_id, path, None, None, None, [])
        desk.mend()
        made.append(desk)
        yield desk
