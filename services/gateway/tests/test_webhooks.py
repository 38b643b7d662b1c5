"""TikTok's webhooks: signature, replay, and a confirm before 200."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr, ValidationError

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.gateway import WebhookReceived
from common.contracts.message import Event
from common.contracts.registry import parse
from common.messaging.topology import EVENTS
from common.testing.eventually import eventually
from common.testing.tcp_gate import TcpGate
from gateway.clients.event_sender import EventNotSent, EventSender
from gateway.settings import Settings
from tiktok.app_credentials import PUBLISHED
from tiktok.webhooks import sign

pytestmark = pytest.mark.integration

PATH = "/api/v1/webhooks/tiktok"
KEY = "app-key"
SECRET = SecretStr("webhook-secret-canary")
APP = {"tiktok_client_key": KEY, "tiktok_client_secret": SECRET}


def webhook(**changes: Any) -> bytes:
    fields = {
        "client_key": KEY,
        "event": "authorization.removed",
        "create_time": 1_790_000_000,
        "user_openid": f"-000{uuid4().hex}",
        "content": '{"reason":1}',
    }
    return json.dumps(fields | changes).encode()


def headers(body: bytes, *, age: float = 0, secret: SecretStr = SECRET, **more: str) -> dict[str, str]:
    stamp = str(int(time.time() - age))
    return {"TikTok-Signature": f"t={stamp},s={sign(body, secret, stamp)}", "Content-Type": "application/json", **more}


async def post(client: httpx.AsyncClient, body: bytes, **signing: Any) -> httpx.Response:
    return await client.post(PATH, content=body, headers=headers(body, **signing))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(run_gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with run_gateway(**APP, rate_limit_per_address="1/minute") as client:
        yield client


@asynccontextmanager
async def listening(channel: Any) -> AsyncIterator[list[Envelope]]:
    """Collect the webhooks that reach the events exchange."""
    received: list[Envelope] = []
    exchange = await channel.declare_exchange(EVENTS.name, type="topic", durable=True)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, routing_key=WebhookReceived.KEY)

    async def take(message: Any) -> None:
        assert (message.type, message.message_id) != ("", str(json.loads(message.body)["id"]))
        assert b"canary" not in message.body + repr(message.headers).encode()
        envelope = Envelope.model_validate_json(message.body)
        assert message.correlation_id not in {None, envelope.correlationid}, "one that is used twice confuses confirms"
        received.append(envelope)

    await queue.consume(take, no_ack=True)
    yield received
    await queue.delete(if_unused=False, if_empty=False)


async def test_a_webhook_becomes_an_event_before_200(gateway: httpx.AsyncClient, broker_channel: Any) -> None:
    body = webhook(user_openid="-000abc", content='{"post_id":7602997070760331285}', event="post.publish.something_new", x=1)
    async with listening(broker_channel) as received:
        answer = await gateway.post(PATH, content=body, headers=headers(body, **{"User-Agent": "TikTok"}))
        assert answer.status_code == 200, answer.text
        (envelope,) = await eventually(lambda: received)
    assert answer.json() == {"id": str(envelope.id)}
    assert parse(envelope, WebhookReceived) == WebhookReceived(
        client_key=KEY,
        event="post.publish.something_new",
        create_time=1_790_000_000,
        user_openid="-000abc",
        content={"post_id": "7602997070760331285"},
    )
    assert (envelope.source, envelope.subject, envelope.userid) == ("/services/gateway", "-000abc", None)
    assert (envelope.actor, envelope.clientip, envelope.useragent) == ("webhook:tiktok", "127.0.0.1", "TikTok")
    assert (envelope.time.timestamp(), envelope.correlationid) == (1_790_000_000, answer.headers["X-Request-ID"])


async def test_a_repeat_is_the_same_event_also_when_signed_anew(gateway: httpx.AsyncClient, broker_channel: Any) -> None:
    body = webhook()
    async with listening(broker_channel) as received:
        ids = [(await post(gateway, body, age=age)).json()["id"] for age in (200, 200, 0)]
        other = (await post(gateway, webhook())).json()["id"]
        await eventually(lambda: len(received) == 4)
    assert len(set(ids)) == 1
    assert other not in ids
    assert UUID(ids[0]).version == 5
    assert len({(event.id, event.time, event.subject, json.dumps(event.data)) for event in received}) == 2


async def test_a_replay_beyond_the_tolerance_is_stale(gateway: httpx.AsyncClient, broker_channel: Any) -> None:
    body = webhook()
    for age in (310, 86_400, -310):
        answer = await post(gateway, body, age=age)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature"), age
        assert answer.headers["www-authenticate"] == "Tiktok-Signature"
    async with listening(broker_channel):
        assert (await post(gateway, body, age=280)).status_code == 200


async def test_the_tolerance_is_a_setting(run_gateway: Any, broker_channel: Any) -> None:
    async with listening(broker_channel), run_gateway(**APP, webhook_tolerance_seconds=259_200) as client:
        assert (await post(client, webhook(), age=250_000)).status_code == 200
        assert (await post(client, webhook(), age=260_000)).status_code == 401


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "t=,s=",
        "t=1,t=1,s=" + "0" * 64,
        "t=" + "9" * 5000 + ",s=" + "0" * 64,
        "s=" + "0" * 64,
        b"t=1,s=\xff\x00" + b"0" * 62,
        b"\xc3\xa9",
    ],
)
async def test_forged_signatures(gateway: httpx.AsyncClient, signature: Any) -> None:
    given = {} if signature is None else {"Tiktok-Signature": signature}
    try:
        answer = await gateway.post(PATH, content=webhook(), headers=given)
    except httpx.LocalProtocolError:
        return
    assert answer.status_code in {400, 401}, answer.text
    if answer.status_code == 401:
        assert answer.json()["code"] == "invalid_signature"


async def test_a_header_given_twice_is_refused(gateway: httpx.AsyncClient) -> None:
    body = webhook()
    right = headers(body)["TikTok-Signature"]
    answer = await gateway.post(PATH, content=body, headers=[("Tiktok-Signature", right), ("TikTok-Signature", right)])
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")


async def test_the_signature_covers_the_raw_bytes(gateway: httpx.AsyncClient) -> None:
    body = webhook()
    answer = await gateway.post(PATH, content=body.replace(b": ", b":"), headers=headers(body))
    assert answer.status_code == 401
    answer = await gateway.post(PATH, content=body, headers=headers(body, secret=SecretStr("another")))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 10_000,
        webhook(create_time="x"),
        webhook(event="a\x00b"),
        webhook(content=5),
    ],
)
async def test_signed_nonsense_is_told_as_such(gateway: httpx.AsyncClient, body: bytes) -> None:
    answer = await post(gateway, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_webhook"), answer.text
    # Unsigned, it is a forgery first of all: nothing is parsed before the signature.
    assert (await gateway.post(PATH, content=body)).status_code == 401


async def test_content_is_taken_as_it_is(gateway: httpx.AsyncClient, broker_channel: Any) -> None:
    async with listening(broker_channel) as received:
        assert (await post(gateway, webhook(content="[1, not json"))).status_code == 200
        assert (await eventually(lambda: received))[0].data["content"] == "[1, not json"


async def test_another_apps_webhooks_are_refused(gateway: httpx.AsyncClient) -> None:
    answer = await post(gateway, webhook(client_key="another"))
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_client_key")


async def test_large_bodies_are_refused_before_they_are_read(gateway: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 8192

    for content in (b"x" * 70_000, endless()):
        answer = await gateway.post(PATH, content=content, headers={"Tiktok-Signature": "t=1,s=" + "0" * 64})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_body_that_does_not_come_is_not_waited_for(
    gateway: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.whole_body.whole_body.__kwdefaults__", {"seconds": 0.2})

    # httpx would not read the answer before its body is sent.
    reader, writer = await asyncio.open_connection(gateway.base_url.host, gateway.base_url.port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx".encode())
    answer = await asyncio.wait_for(reader.readline(), 60)
    writer.close()
    assert b" 408 " in answer


async def test_a_flood_of_forgeries_does_not_lock_tiktok_out(gateway: httpx.AsyncClient, broker_channel: Any) -> None:
    async with listening(broker_channel):
        forged = await asyncio.gather(*(gateway.post(PATH, content=b"x") for _ in range(50)))
        assert {answer.status_code for answer in forged} == {401}
        assert (await post(gateway, webhook())).status_code == 200


async def test_without_a_secret_webhooks_are_a_clear_problem(run_gateway: Any) -> None:
    async with run_gateway() as client:
        answer = await post(client, webhook())
    assert (answer.status_code, answer.json()["code"]) == (503, "webhooks_not_configured")
    assert "TIKTOK_CLIENT_SECRET" in answer.json()["hint"]
    assert int(answer.headers["retry-after"]) > 0


def test_key_and_secret_belong_together(make_settings: Any) -> None:
    for half in ({"tiktok_client_key": "a"}, {"tiktok_client_secret": SECRET}):
        with pytest.raises(ValidationError, match="TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET") as caught:
            make_settings(**half)
        assert "canary" not in str(caught.value)
    settings: Settings = make_settings(**APP)
    assert "canary" not in repr(settings)
    key, secret = {"tiktok_client_key": PUBLISHED[0]}, {"tiktok_client_secret": PUBLISHED[1]}
    for given, named in ((key, "TIKTOK_CLIENT_KEY: the"), (secret, "TIKTOK_CLIENT_SECRET: the")):
        with pytest.raises(ValidationError, match=named):
            make_settings(**APP | given)
    make_settings(**key, **secret, tiktok_api_url="http://simulator:8080")


async def test_what_no_queue_wants_is_not_sent(rabbitmq_url: str) -> None:
    class Unheard(Event):
        KEY = f"gateway.unheard.{uuid4().hex}.v1"

    sender = EventSender(SecretStr(rabbitmq_url), name="test")
    with pytest.raises(EventNotSent, match="unroutable"):
        await sender.send(wrap(Unheard(), service="gateway", subject="x", context=Context()))
    await sender.stop()


@pytest.mark.parametrize("way", ["cut", "hang"])
async def test_without_a_confirm_it_is_503_and_the_repeat_is_the_same_event(
    run_gateway: Any, broker_channel: Any, gate: tuple[TcpGate, str], way: str
) -> None:
    body = webhook()
    async with listening(broker_channel) as received, run_gateway(**APP, amqp_url=SecretStr(gate[1])) as client:
        first = webhook()
        assert (await post(client, first)).status_code == 200
        client.app.state.edge.webhooks._sender._timeout = 0.5
        if way == "cut":
            gate[0].cut()
        else:
            gate[0].open.clear()
        answer = await post(client, body)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer.headers["retry-after"] == "5"
        gate[0].mend()
        client.app.state.edge.webhooks._sender._timeout = 5
        again = await post(client, body)
        assert again.status_code == 200, again.text
        await eventually(lambda: len({event.id for event in received}) == 2)
        assert str(received[-1].id) == again.json()["id"]


async def test_the_document_describes_it(gateway: httpx.AsyncClient) -> None:
    operation = (await gateway.get("/openapi.json")).json()["paths"][PATH]["post"]
    assert operation["security"] == []
    assert {"200", "401", "403", "413", "503"} <= set(operation["responses"])
    assert operation["parameters"][0]["name"] == "Tiktok-Signature"
