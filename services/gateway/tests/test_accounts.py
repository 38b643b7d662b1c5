"""Routes of TikTok accounts: changes become commands of accounts, with the right scope; bad input never leaves the edge."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.accounts import DisconnectAccount, SyncAccount, SyncAccounts, UpdateAccount
from common.errors import Problem
from common.messaging.reply import Reply

pytestmark = pytest.mark.integration

PATH = "/api/v1/accounts"
KEYS = (UpdateAccount.KEY, DisconnectAccount.KEY, SyncAccount.KEY, SyncAccounts.KEY)


async def test_changes_become_commands_of_accounts(gateway: Any, responder: Any, auth: Any, user_id: UUID) -> None:
    account_id, other = uuid4(), uuid4()
    responder.script = lambda envelope: (
        Reply(status=204) if envelope.key == DisconnectAccount.KEY else Reply(status=200, body={"key": envelope.key})
    )
    await responder.bind(*KEYS)
    answers = [
        await gateway.patch(f"{PATH}/{account_id}", json={"status": "inactive"}, headers=auth),
        await gateway.delete(f"{PATH}/{account_id}", headers=auth),
        await gateway.post(f"{PATH}/{account_id}/sync", headers=auth),
        await gateway.post(f"{PATH}/{account_id}/sync", json={}, headers=auth),
        await gateway.post(f"{PATH}/batch/sync", json={"account_ids": [str(account_id), str(other)]}, headers=auth),
    ]
    assert [answer.status_code for answer in answers] == [200, 204, 200, 200, 200]
    assert [envelope.key for envelope in responder.received] == [KEYS[0], KEYS[1], KEYS[2], KEYS[2], KEYS[3]]
    update, delete, sync, _, batch = responder.received
    assert update.data == {"account_id": str(account_id), "status": "inactive"}
    assert delete.data == sync.data == {"account_id": str(account_id)}
    assert batch.data == {"account_ids": [str(account_id), str(other)]}
    assert {update.subject, delete.subject, sync.subject} == {str(account_id)}
    assert {envelope.userid for envelope in responder.received} == {user_id}


async def test_the_same_key_is_the_same_command(gateway: Any, responder: Any, auth: Any) -> None:
    await responder.bind(*KEYS)
    keyed, path = {**auth, "Idempotency-Key": "k"}, f"{PATH}/{uuid4()}"
    await gateway.patch(path, json={"status": "inactive"}, headers=keyed)
    await gateway.patch(path, json={"status": "inactive"}, headers=keyed)
    await gateway.patch(path, json={"status": "active"}, headers=keyed)
    await gateway.delete(path, headers=keyed)
    await gateway.post(f"{path}/sync", headers=keyed)
    first, same, other_body, delete, sync = responder.received
    assert first.id == same.id == other_body.id
    assert first.requesthash == same.requesthash != other_body.requesthash
    assert len({first.id, delete.id, sync.id}) == 3


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "expired"},
        {"status": None},
        {"status": ["active"]},
        {"status": "active", "username": "x"},
        {"status": "active\x00"},
        [],
        "active",
        None,
    ],
)
async def test_bad_changes_are_refused(gateway: Any, responder: Any, auth: Any, body: Any) -> None:
    await responder.bind(*KEYS)
    answer = await gateway.patch(f"{PATH}/{uuid4()}", json=body, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert responder.received == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"account_ids": []},
        {"account_ids": "all"},
        {"account_ids": ["x"]},
        {"account_ids": [1]},
        {"account_ids": [None]},
        {"account_ids": [str(uuid4()) for _ in range(101)]},
        {"account_ids": [str(uuid4())], "force": True},
    ],
)
async def test_bad_batches_are_refused(gateway: Any, responder: Any, auth: Any, body: Any) -> None:
    await responder.bind(*KEYS)
    answer = await gateway.post(f"{PATH}/batch/sync", json=body, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert responder.received == []


async def test_a_hundred_accounts_are_one_command(gateway: Any, responder: Any, auth: Any) -> None:
    await responder.bind(*KEYS)
    ids = [str(uuid4()) for _ in range(100)]
    assert (await gateway.post(f"{PATH}/batch/sync", json={"account_ids": ids}, headers=auth)).status_code == 200
    assert responder.received[0].data == {"account_ids": ids}


async def test_other_bodies_and_ids(gateway: Any, responder: Any, auth: Any) -> None:
    await responder.bind(*KEYS)
    text = {**auth, "Content-Type": "text/plain"}
    assert (await gateway.patch(f"{PATH}/{uuid4()}", content="active", headers=text)).status_code == 415
    assert (await gateway.patch(f"{PATH}/{uuid4()}", content="{", headers=auth)).status_code == 422
    assert (await gateway.post(f"{PATH}/{uuid4()}/sync", json={"now": True}, headers=auth)).status_code == 422
    assert (await gateway.patch(f"{PATH}/no-uuid", json={"status": "active"}, headers=auth)).status_code == 404
    assert (await gateway.delete(f"{PATH}/no-uuid", headers=auth)).status_code == 404
    assert (await gateway.post(f"{PATH}/no-uuid/sync", headers=auth)).status_code == 404
    wrong = await gateway.put(f"{PATH}/{uuid4()}", json={"status": "active"}, headers=auth)
    assert (wrong.status_code, set(wrong.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "PATCH", "DELETE"})
    assert responder.received == []


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "", "accounts:read"),
        ("GET", "/stats/summary", "accounts:read"),
        ("GET", f"/{uuid4()}", "accounts:read"),
        ("GET", f"/{uuid4()}/creator-info", "accounts:read"),
        ("PATCH", f"/{uuid4()}", "accounts:write"),
        ("DELETE", f"/{uuid4()}", "accounts:write"),
        ("POST", f"/{uuid4()}/sync", "accounts:write"),
        ("POST", "/batch/sync", "accounts:write"),
    ],
)
async def test_each_route_takes_its_scope(
    gateway: Any, responder: Any, user_keys: Any, method: str, path: str, scope: str
) -> None:
    await responder.bind(*KEYS)
    body = {"PATCH": {"status": "active"}, "POST": {"account_ids": [str(uuid4())]} if "batch" in path else {}}.get(method)
    others = {"accounts:read", "accounts:write", "posts:write", "media:write"} - {scope}

    async def ask(*scopes: str) -> Any:
        headers = user_keys.authorization(uuid4(), session_id=None, api_key_id=str(uuid4()), scopes=scopes)
        return await gateway.request(method, PATH + path, json=body, headers=headers)

    refused = await ask(*others)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert (await ask(scope)).status_code in {200, 404}, "404 is the scripted service's"
    assert (await gateway.request(method, PATH + path, json=body)).status_code == 401


async def test_refusals_of_accounts_are_problems(gateway: Any, responder: Any, auth: Any) -> None:
    away = Problem(502, "tiktok_unavailable", "TikTok does not answer.", headers={"Retry-After": "10"})
    responder.script = lambda _: Reply.of_problem(away)
    await responder.bind(*KEYS)
    answer = await gateway.post(f"{PATH}/{uuid4()}/sync", headers=auth)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (502, "tiktok_unavailable", "10")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_slow_sync_is_an_operation_of_accounts(run_gateway: Any, services: Any, responder: Any, auth: Any) -> None:
    responder.script = lambda _: None
    await responder.bind(*KEYS)
    async with run_gateway(command_timeout_seconds=0.2) as client:
        answer = await client.post(f"{PATH}/batch/sync", json={"account_ids": [str(uuid4())]}, headers=auth)
        assert answer.status_code == 202
        path = f"/internal/operations/{(await responder.first()).id}"
        services.answer("GET", path, {"status": 200, "body": {"total": 1}, "headers": {}})
        done = await client.get(answer.headers["location"], headers=auth)
        assert done.json()["answer"]["body"] == {"total": 1}


async def test_the_document_describes_the_routes(gateway: Any) -> None:
    document = (await gateway.get("/openapi.json")).json()
    paths, schemas = document["paths"], document["components"]["schemas"]
    change = paths[f"{PATH}/{{account_id}}"]
    assert set(change) == {"get", "patch", "delete"}
    assert {"200", "202", "401", "403", "404", "409", "422", "429", "503"} <= set(change["patch"]["responses"])
    assert {"204", "202"} <= set(change["delete"]["responses"])
    assert {"200", "202", "409", "502"} <= set(paths[f"{PATH}/{{account_id}}/sync"]["post"]["responses"])
    assert schemas["AccountChange"]["additionalProperties"] is False
    assert schemas["AccountIds"]["properties"]["account_ids"]["maxItems"] == 100
    assert set(schemas["AccountSummary"]["required"]) == {
        "total_accounts",
        "active_accounts",
        "total_followers",
        "total_videos",
    }
