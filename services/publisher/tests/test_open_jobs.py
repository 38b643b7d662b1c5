"""What others ask of an account: whether jobs are open, to end its grant; how full its day is; tokens for what is under way."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from common.ids import uuid7
from publisher.app import wire
from publisher.clients.accounts import AccountsClient
from publisher.clients.breakers import Breakers
from publisher.clients.tiktok import TikTok
from publisher.domain.job import State
from publisher.domain.tiktok_limits import Caps
from publisher.storage import quotas

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(loop_scope="session")
async def http(world: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(wire(world.settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://publisher") as client:
        yield client


async def test_open_jobs_are_counted_until_they_end(world: Any, http: httpx.AsyncClient) -> None:
    account_id, other = uuid7(), uuid7()
    posts = [world.post(account_id, None) for _ in range(3)]
    await world.accept(*posts, world.post(other, None))

    async def count(account: UUID) -> int:
        headers = world.keys.authorization("accounts", "publisher")
        answer = await http.get(f"/internal/accounts/{account}/open-jobs", headers=headers)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["open_jobs"])

    assert (await count(account_id), await count(other), await count(uuid7())) == (3, 1, 0)
    states = (State.SUCCEEDED, State.FAILED, State.RUNNING)
    for post, state in zip(posts, states, strict=True):
        await world.due_now(post, state=state.value)
    assert await count(account_id) == 1, "one that ended and is looked at again is not open"


@pytest.mark.parametrize(("question", "asker"), [("open-jobs", "accounts"), ("day?mode=direct", "scheduler")])
async def test_each_question_has_its_asker(world: Any, http: httpx.AsyncClient, question: str, asker: str) -> None:
    path = f"/internal/accounts/{uuid7()}/{question}"
    assert (await http.get(path)).status_code == 401
    for name in {"gateway", "accounts", "scheduler", "analytics"} - {asker}:
        assert (await http.get(path, headers=world.keys.authorization(name, "publisher"))).status_code == 403
    headers = world.keys.authorization(asker, "publisher")
    assert (await http.get(f"/internal/accounts/x/{question}", headers=headers)).status_code == 404


async def day(world: Any, account: UUID, mode: str = "direct", **changes: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(wire(world.settings(**changes))), base_url="http://publisher"
    ) as http:
        headers = world.keys.authorization("scheduler", "publisher")
        answer = await http.get(f"/internal/accounts/{account}/day", params={"mode": mode}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_day_holds_what_counts_and_what_is_in_line(world: Any) -> None:
    account = uuid7()
    empty = {"allowed": 15, "window_seconds": 86_460.0, "moments": [], "not_before": None}
    assert await day(world, account) == empty
    assert await day(world, account, "inbox") == empty | {"allowed": 5}
    now = await world.database_now()
    posts = [world.post(account, None, due_at=now - timedelta(seconds=9 - place)) for place in range(4)]
    hopeless = world.post(account, None, due_at=now - timedelta(seconds=1), publish_before=now + timedelta(hours=1))
    await world.accept(*posts, hopeless, world.post(account, None, mode="inbox"), world.post(uuid7(), None))
    caps = Caps.of(daily_posts=2, pending_drafts=5, active_users=0)
    for post in posts[:2]:
        job = await world.job(post)
        async with world.database.transaction() as tx:
            assert (await quotas.take(tx.connection, quotas.of_day(job, caps), job)).granted
    # The first is under way, of the second nothing came, the third and fourth are in line, and so is one that waits too long.
    await world.due_now(posts[0], step="uploading")
    await world.due_now(posts[1], state="failed")
    await world.due_now(posts[3], awaits_account=True)
    found = await day(world, account, daily_posts_per_creator=2)
    first, third = map(datetime.fromisoformat, found["moments"])
    assert (found["allowed"], found["not_before"], first <= third < now + timedelta(hours=1)) == (2, None, True)
    assert await day(world, account, daily_posts_per_creator=0) == empty | {"allowed": None}
    async with world.database.transaction() as tx:
        await quotas.learn(tx.connection, quotas.of_day(job, caps), 3600)
    barred = await day(world, account, daily_posts_per_creator=2)
    assert datetime.fromisoformat(barred["not_before"]) > now + timedelta(minutes=59)
    assert datetime.fromisoformat(barred["moments"][1]) >= datetime.fromisoformat(barred["not_before"])


class Asked:
    """Stands in for accounts and notes what it is asked."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def post(self, path: str, *, json: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.bodies.append(json)
        return {"access_token": "a-dead-token", "open_id": "o", "username": "u", "expires_at": "2030-01-01T00:00:00Z"}


async def test_tokens_for_what_was_sent_are_asked_for_as_such(world: Any) -> None:
    asked, account_id = Asked(), uuid7()
    accounts = AccountsClient(asked)  # type: ignore[arg-type]
    async with httpx.AsyncClient() as client:
        tiktok = TikTok(client, client, world.simulator.base_url, accounts, Breakers(failures=9, open_seconds=1))
        with pytest.raises(Exception, match="access_token_invalid"):
            await tiktok.status(account_id, "v_pub_file~1", _send)
        access = await accounts.access(account_id)
        with pytest.raises(Exception, match="access_token_invalid"):
            await tiktok.creator_info(account_id, access, _send)
    assert [body["under_way"] for body in asked.bodies] == [True, True, False, False]
    assert ["force_refresh" in body for body in asked.bodies] == [False, True, False, True]


async def _send() -> None:
    """Nothing is counted here, and no lease held."""
