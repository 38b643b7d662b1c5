"""The simulator's webhooks, received by a real server that checks them with the client library."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from common.testing.http_server import serving
from tiktok.webhooks import WebhookEvent, parse_event, verify
from tiktok_simulator.driver import Driver, eventually
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import RunningSimulator, running_simulator

SECRET = SecretStr("simulator-client-secret")


@dataclass
class Receiver:
    """The app's callback address."""

    url: str = ""
    events: list[WebhookEvent] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses to answer with, then 200."""

    async def receive(self, request: Request) -> Response:
        body = await request.body()
        headers = request.headers.getlist("tiktok-signature")
        self.stamps.append(verify(headers, body, SECRET, now=time.time(), tolerance=3600))
        assert request.headers["content-type"] == "application/json"
        self.events.append(parse_event(body))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    async def has(self, number: int) -> bool:
        return len(self.events) == number

    async def names(self, *expected: str) -> None:
        """Wait until exactly these events have come, in this order."""

        async def came() -> bool:
            return [event.event for event in self.events] == list(expected)

        await eventually(came)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver, app = Receiver(), FastAPI(openapi_url=None)
    app.add_api_route("/hook", receiver.receive, methods=["POST"])
    async with serving(app) as url:
        receiver.url = f"{url}/hook"
        yield receiver


@dataclass
class Stand:
    running: RunningSimulator
    driver: Driver
    receiver: Receiver

    async def deliveries(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.driver.http.get(f"{self.driver.base_url}/_simulator/webhooks")).json()[
            "items"
        ]
        return items

    async def states(self, *expected: str) -> None:
        async def so() -> bool:
            return [item["state"] for item in await self.deliveries()] == list(expected)

        await eventually(so)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.driver.http.post(f"{self.driver.base_url}/_simulator/{path}", json=body)

    async def tell(self, event: str) -> None:
        answer = await self.post("webhooks", {"event": event, "username": "demo_public", "content": {"n": 1}})
        assert answer.status_code == 202, answer.text


@asynccontextmanager
async def standing(receiver: Receiver, http: httpx.AsyncClient, **changes: Any) -> AsyncIterator[Stand]:
    settings = Settings(
        **{"port": 0, "processing_seconds": 0.0, "webhook_url": receiver.url, "webhook_retry_seconds": 0.01} | changes
    )
    async with running_simulator(settings) as running:
        yield Stand(running, Driver(http, running.base_url), receiver)


@pytest.fixture
async def stand(receiver: Receiver, http: httpx.AsyncClient) -> AsyncIterator[Stand]:
    async with standing(receiver, http) as stand:
        yield stand


@pytest.mark.parametrize(("given", "reason"), [(None, 1), ({"reason": 4}, 4)])
async def test_a_withdrawn_grant_is_dead_and_told(stand: Stand, given: Any, reason: int) -> None:
    tokens = await stand.driver.connect()
    assert (await stand.post("creators/demo_public/withdraw", given)).json()["withdrawn"] is True
    await stand.receiver.names("authorization.removed")
    (event,) = stand.receiver.events
    assert (event.user_openid, event.content, event.client_key) == (
        tokens["open_id"],
        {"reason": reason},
        "simulator-client-key",
    )
    assert (await stand.driver.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await stand.post("creators/demo_public/withdraw")).json()["withdrawn"] is False
    assert (await stand.post("creators/nobody/withdraw")).status_code == 404
    assert (await stand.post("creators/demo_public/withdraw", {"reason": 6})).status_code == 422
    await stand.states("delivered")


async def test_a_revoked_grant_is_told_as_the_apps_own_doing(stand: Stand) -> None:
    tokens = await stand.driver.connect()
    assert (await stand.driver.revoke(tokens["access_token"])).status_code == 200
    await stand.receiver.names("authorization.removed")
    assert stand.receiver.events[0].content == {"reason": 5}


async def test_a_publication_is_told_when_it_ends_and_when_it_can_be_seen(stand: Stand, video: bytes) -> None:
    token = (await stand.driver.connect())["access_token"]
    publish_id = await stand.driver.upload(token, video, privacy_level="PUBLIC_TO_EVERYONE")
    await eventually(lambda: stand.receiver.has(2))
    # Two webhooks at once come in any order.
    told = {event.event: event.content for event in stand.receiver.events}
    complete, public = told["post.publish.complete"], told["post.publish.publicly_available"]
    (item,) = await stand.driver.ledger()
    assert complete == {"publish_id": publish_id, "publish_type": "DIRECT_PUBLISH"}
    assert public == {"publish_id": publish_id, "post_id": item["post_id"], "publish_type": "DIRECT_PUBLISH"}


async def test_failed_and_private_ones(stand: Stand, video: bytes) -> None:
    token = (await stand.driver.connect())["access_token"]
    await stand.driver.fault("processing", fail_reason="duration_check_failed")
    await stand.driver.upload(token, video)
    await stand.receiver.names("post.publish.failed")
    await stand.driver.upload(token, video)
    await stand.receiver.names("post.publish.failed", "post.publish.complete")
    assert stand.receiver.events[0].content["reason"] == "duration_check_failed"  # type: ignore[index]


async def test_anything_but_200_is_sent_again_with_growing_pauses(stand: Stand) -> None:
    stand.receiver.answers = [503, 401, 204]
    await stand.tell("something.new")
    await stand.states("delivered")
    await stand.receiver.names(*["something.new"] * 4)
    assert len({event.model_dump_json() for event in stand.receiver.events}) == 1
    (item,) = await stand.deliveries()
    assert (item["attempts"], item["last_answer"], item["body"]["content"]) == (4, "200", '{"n":1}')


async def test_it_gives_up_in_the_end(receiver: Receiver, http: httpx.AsyncClient) -> None:
    receiver.answers = [500] * 100
    async with standing(receiver, http, webhook_give_up_seconds=0.1) as stand:
        await stand.tell("a")
        await stand.states("given_up")


async def test_duplicates_drops_and_another_order(stand: Stand) -> None:
    await stand.driver.fault("webhook", duplicate=True)
    await stand.tell("twice")
    await stand.receiver.names("twice", "twice")
    await stand.driver.fault("webhook", drop=True)
    await stand.driver.fault("webhook", reorder=True)
    for name in ("never", "second", "first"):
        await stand.tell(name)
    await stand.receiver.names("twice", "twice", "first", "second")
    await stand.states("delivered", "dropped", "delivered", "delivered")


async def test_a_delayed_one_comes_when_faults_are_cleared(stand: Stand) -> None:
    await stand.driver.fault("webhook", delay=600)
    await stand.tell("late")
    await stand.tell("now")
    await stand.receiver.names("now")
    await stand.driver.http.delete(f"{stand.driver.base_url}/_simulator/faults")
    await stand.receiver.names("now", "late")


async def test_faults_of_calls_do_not_fit_webhooks(stand: Stand) -> None:
    for wrong in ({"status": 500}, {"stuck": True}, {}):
        assert (await stand.post("faults", {"endpoint": "webhook", **wrong})).status_code == 422
    assert (await stand.post("faults", {"endpoint": "upload", "duplicate": True})).status_code == 422


@pytest.mark.parametrize("resign", [True, False])
async def test_repeats_are_signed_anew_or_not(receiver: Receiver, http: httpx.AsyncClient, resign: bool) -> None:
    receiver.answers = [500]
    async with standing(receiver, http, webhook_resign=resign, webhook_retry_seconds=1.1) as stand:
        await stand.tell("a")
        await stand.states("delivered")
    assert (len(set(receiver.stamps)) == 2) is resign


async def test_what_waits_survives_a_restart(receiver: Receiver, http: httpx.AsyncClient, tmp_path: Path) -> None:
    kept = {"state_file": tmp_path / "state.sqlite", "webhook_retry_seconds": 60}
    receiver.answers = [500]
    async with standing(receiver, http, **kept) as stand:
        await stand.tell("a")
        await receiver.names("a")
    async with standing(receiver, http, **kept) as stand:
        await receiver.names("a", "a")
        await stand.states("delivered")
        await stand.post("reset")
        assert await stand.deliveries() == []


async def test_finished_ones_are_forgotten_after_a_while(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiktok_simulator.webhooks.KEPT", 2)
    for _ in range(4):
        await stand.tell("a")
    await stand.states("delivered", "delivered")


async def test_without_an_address_nothing_is_sent(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    await driver.finished(await driver.upload(token, video))
    answer = await driver.http.post(
        f"{driver.base_url}/_simulator/webhooks", json={"event": "a", "username": "demo_public", "content": {}}
    )
    assert answer.status_code == 409
    assert (await driver.http.get(f"{driver.base_url}/_simulator/webhooks")).json() == {"items": []}
