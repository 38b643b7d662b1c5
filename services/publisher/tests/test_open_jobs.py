"""What accounts needs to end a grant: whether jobs are open, and tokens for those under way only."""

from collections.abc import AsyncIterator
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


async def test_only_accounts_may_ask(world: Any, http: httpx.AsyncClient) -> None:
    path = f"/internal/accounts/{uuid7()}/open-jobs"
    assert (await http.get(path)).status_code == 401
    for name in ("gateway", "scheduler", "analytics"):
        assert (await http.get(path, headers=world.keys.authorization(name, "publisher"))).status_code == 403
    headers = world.keys.authorization("accounts", "publisher")
    assert (await http.get("/internal/accounts/x/open-jobs", headers=headers)).status_code == 404


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
        tiktok = TikTok(client, world.simulator.base_url, accounts, Breakers(failures=9, open_seconds=1))
        with pytest.raises(Exception, match="access_token_invalid"):
            await tiktok.status(account_id, "v_pub_file~1", _send)
        access = await accounts.access(account_id)
        with pytest.raises(Exception, match="access_token_invalid"):
            await tiktok.creator_info(account_id, access, _send)
    assert [body["under_way"] for body in asked.bodies] == [True, True, False, False]
    assert ["force_refresh" in body for body in asked.bodies] == [False, True, False, True]


async def _send() -> None:
    """Nothing is counted here, and no lease held."""
