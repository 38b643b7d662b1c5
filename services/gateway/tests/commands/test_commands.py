"""Changes travel as commands: replies, 202, 503, idempotency, operations, bad bodies."""

import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from common.clock import utc_now
from common.contracts.scheduler import CancelPost, CreatePost, PublishPostNow
from common.errors import Problem
from common.messaging.reply import Reply
from gateway.domain.operation_id import Operation, encode_operation

pytestmark = pytest.mark.integration

POST = {"caption": "hello", "privacy_level": "SELF_ONLY", "media_id": str(uuid4()), "scheduled_time": "2030-01-01T10:00:00Z"}


async def test_reply_becomes_the_response_and_the_envelope_says_who_asked(
    gateway: Any, responder: Any, auth: Any, user_id: UUID
) -> None:
    responder.script = lambda _: Reply(status=201, body={"id": "x", "status": "scheduled"}, headers={"ETag": '"1"'})
    await responder.bind(CreatePost.KEY)
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = {**auth, "X-Request-ID": "req-1", "User-Agent": "probe/1", "traceparent": traceparent}
    answer = await gateway.post("/api/v1/posts", json=POST, headers=headers)
    assert (answer.status_code, answer.json()) == (201, {"id": "x", "status": "scheduled"})
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["x-request-id"] == "req-1"
    (envelope,) = responder.received
    assert envelope.key == CreatePost.KEY
    assert (envelope.userid, envelope.actor) == (user_id, f"user:{user_id}")
    assert (envelope.clientip, envelope.useragent, envelope.correlationid) == ("127.0.0.1", "probe/1", "req-1")
    assert envelope.traceparent == traceparent
    assert envelope.data["caption"] == "hello"
    assert envelope.requesthash is not None
    assert envelope.id.version == 7


async def test_refusal_in_a_reply_is_a_problem(gateway: Any, responder: Any, auth: Any) -> None:
    responder.script = lambda _: Reply.of_problem(Problem(409, "media_not_ready", "Wait.", headers={"Retry-After": "2"}))
    await responder.bind(CreatePost.KEY)
    answer = await gateway.post("/api/v1/posts", json=POST, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (409, "media_not_ready")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_delete_and_publish_now(gateway: Any, responder: Any, auth: Any) -> None:
    post_id = uuid4()
    replies = {CancelPost.KEY: Reply(status=204), PublishPostNow.KEY: Reply(status=202, body={"id": str(post_id)})}
    responder.script = lambda envelope: replies[envelope.key]
    await responder.bind(CancelPost.KEY, PublishPostNow.KEY)
    deleted = await gateway.delete(f"/api/v1/posts/{post_id}", headers=auth)
    assert (deleted.status_code, deleted.content) == (204, b"")
    now = await gateway.post(f"/api/v1/posts/{post_id}/publish-now", headers=auth)
    assert (now.status_code, now.json()) == (202, {"id": str(post_id)})
    empty = await gateway.post(f"/api/v1/posts/{post_id}/publish-now", json={}, headers=auth)
    assert empty.status_code == 202
    unknown = await gateway.post(f"/api/v1/posts/{post_id}/publish-now", json={"when": 1}, headers=auth)
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "when")
    assert [envelope.subject for envelope in responder.received] == [str(post_id)] * 3


async def test_no_reply_in_time_is_202_and_the_operation_tells_the_answer(
    run_gateway: Any, services: Any, responder: Any, auth: Any
) -> None:
    responder.script = lambda _: None
    await responder.bind(CreatePost.KEY)
    async with run_gateway(command_timeout_seconds=0.3) as client:
        answer = await client.post("/api/v1/posts", json=POST, headers=auth)
        assert answer.status_code == 202
        location = answer.headers["location"]
        assert location.startswith("/api/v1/operations/")
        assert answer.json()["location"] == location
        pending = await client.get(location, headers=auth)
        assert (pending.status_code, pending.json()["status"]) == (200, "pending")
        path = f"/internal/operations/{(await responder.first()).id}"
        assert services.calls_of(path)[0]["headers"]["authorization"] == auth["Authorization"]
        services.answer("GET", path, {"status": 201, "body": {"id": "x"}, "headers": {}})
        done = await client.get(location, headers=auth)
        assert done.json() == {"status": "done", "answer": {"status": 201, "headers": {}, "body": {"id": "x"}}}


async def test_unroutable_command_is_503_and_says_that_nothing_happened(gateway: Any, auth: Any) -> None:
    answer = await gateway.post("/api/v1/posts", json=POST, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_without_a_broker_commands_are_503_and_readiness_is_red(run_gateway: Any, auth: Any) -> None:
    async with run_gateway(ready=False, amqp_url="amqp://guest:guest@127.0.0.1:1/none") as client:
        answer = await client.post("/api/v1/posts", json=POST, headers=auth)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["CommandClient"]["ok"] is False
        assert (await client.get("/healthz")).status_code == 200


async def test_idempotency_key_fixes_the_id_and_the_hash_tells_requests_apart(
    gateway: Any, responder: Any, auth: Any, user_keys: Any
) -> None:
    await responder.bind(CreatePost.KEY)
    keyed = {**auth, "Idempotency-Key": "k1"}
    other_user = {**user_keys.authorization(uuid4()), "Idempotency-Key": "k1"}
    await gateway.post("/api/v1/posts", json=POST, headers=keyed)
    await gateway.post("/api/v1/posts", json=POST, headers=keyed)
    await gateway.post("/api/v1/posts", json=POST | {"caption": "other"}, headers=keyed)
    await gateway.post("/api/v1/posts?x=1", json=POST, headers=keyed)
    await gateway.post("/api/v1/posts", json=POST, headers=keyed | {"If-Match": '"3"'})
    await gateway.post("/api/v1/posts", json=POST, headers=other_user)
    await gateway.post("/api/v1/posts", json=POST, headers=auth | {"Idempotency-Key": "k2"})
    first, same, body, query, if_match, stranger, another = responder.received
    assert first.id == same.id == body.id == query.id == if_match.id
    assert first.id.version == 5
    assert first.requesthash == same.requesthash
    assert len({first.requesthash, body.requesthash, query.requesthash, if_match.requesthash}) == 4
    assert len({first.id, stranger.id, another.id}) == 3


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä"])
async def test_malformed_idempotency_keys_are_refused(gateway: Any, responder: Any, auth: Any, key: str) -> None:
    await responder.bind(CreatePost.KEY)
    headers = [*auth.items(), ("Idempotency-Key", key.encode("latin-1"))]
    answer = await gateway.post("/api/v1/posts", json=POST, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")
    assert responder.received == []


async def test_foreign_and_forged_operations_are_not_found(gateway: Any, services: Any, auth: Any, user_id: UUID) -> None:
    key = bytes(range(32))
    mine = encode_operation(Operation("scheduler", user_id, uuid4(), utc_now(), "posts:write"), key)
    foreign = encode_operation(Operation("scheduler", uuid4(), uuid4(), utc_now(), "posts:write"), key)
    forged = encode_operation(Operation("scheduler", user_id, uuid4(), utc_now(), "posts:write"), bytes(32))
    for operation_id in (foreign, forged, mine[:-2] + "AA", mine + "=", "x", "%00", "ä", "a" * 5000):
        answer = await gateway.get(f"/api/v1/operations/{operation_id}", headers=auth)
        assert answer.status_code == 404, operation_id
    assert services.calls_of("/internal/operations") == []
    assert (await gateway.get(f"/api/v1/operations/{mine}", headers=auth)).json()["status"] == "pending"


async def test_operation_of_a_service_that_answers_nonsense_or_fails(
    gateway: Any, services: Any, auth: Any, user_id: UUID
) -> None:
    command_id = uuid4()
    operation_id = encode_operation(Operation("scheduler", user_id, command_id, utc_now(), "posts:write"), bytes(range(32)))
    services.answer("GET", f"/internal/operations/{command_id}", ["no reply"])
    answer = await gateway.get(f"/api/v1/operations/{operation_id}", headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    for status in (403, 500):
        services.answer("GET", f"/internal/operations/{command_id}", {"code": "x"}, status=status)
        assert (await gateway.get(f"/api/v1/operations/{operation_id}", headers=auth)).status_code == status
    services.answer("GET", f"/internal/operations/{command_id}", {"code": "service_unavailable"}, status=503)
    pending = await gateway.get(f"/api/v1/operations/{operation_id}", headers=auth)
    assert (pending.status_code, pending.json()["status"]) == (200, "pending"), "for now its answer cannot be read"


async def test_an_operation_takes_the_scope_of_its_command(gateway: Any, services: Any, user_keys: Any, user_id: UUID) -> None:
    command_id = uuid4()
    services.answer("GET", f"/internal/operations/{command_id}", {"status": 201, "body": {"id": "x"}, "headers": {}})
    operation = Operation("scheduler", user_id, command_id, utc_now(), "media:write")
    address = f"/api/v1/operations/{encode_operation(operation, bytes(range(32)))}"
    for scopes, status in ((["audit:read", "posts:write"], 403), (["media:write"], 200)):
        headers = user_keys.authorization(user_id, api_key_id=str(uuid4()), scopes=scopes)
        answer = await gateway.get(address, headers=headers)
        assert answer.status_code == status, answer.text
        if status == 403:
            assert answer.json()["code"] == "insufficient_scope"


async def test_the_document_names_both_bodies_of_publish_now(gateway: Any) -> None:
    document = (await gateway.get("/openapi.json")).json()
    answers = document["paths"]["/api/v1/posts/{post_id}/publish-now"]["post"]["responses"]
    (content,) = answers["202"]["content"].values()
    schemas = document["components"]["schemas"]
    assert [schema["$ref"].rsplit("/", 1)[1] for schema in content["schema"]["oneOf"]] == ["Post", "PendingOperation"]
    assert {"Post", "PendingOperation"} <= schemas.keys()


BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not json": b"{",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a string": b'"x"',
    "unknown field": json.dumps(POST | {"surprise": 1}).encode(),
    "wrong type": json.dumps(POST | {"caption": 5}).encode(),
    "text for a number": json.dumps(POST | {"cover_timestamp_ms": "5"}).encode(),
    "text for a boolean": json.dumps(POST | {"draft": "yes"}).encode(),
    "number for a time": json.dumps(POST | {"scheduled_time": 1700000000}).encode(),
    "null for a text": json.dumps(POST | {"caption": None}).encode(),
    "a list for a text": json.dumps(POST | {"caption": ["x"]}).encode(),
    "unknown privacy": json.dumps(POST | {"privacy_level": "EVERYBODY"}).encode(),
    "no uuid": json.dumps(POST | {"media_id": "1"}).encode(),
    "NUL": json.dumps(POST | {"caption": "a\x00b"}).encode(),
    "raw NUL": b'{"caption": "a\x00b"}',
    "lone surrogate": b'{"caption": "\\ud800"}',
    "encoded surrogate": b'{"caption": "\xed\xa0\x80"}',
    "not UTF-8": b'{"caption": "\xff"}',
    "NaN": b'{"cover_timestamp_ms": NaN}',
    "huge number": b'{"cover_timestamp_ms": 1e999}',
    "huge integer": b'{"cover_timestamp_ms": ' + b"9" * 5000 + b"}",
    "too long caption": json.dumps(POST | {"caption": "x" * 20_001}).encode(),
    "deep": b'{"hashtags": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "many keys": json.dumps({f"k{n}": n for n in range(2000)}).encode(),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_bad_bodies_are_told_and_never_sent(gateway: Any, responder: Any, auth: Any, name: str) -> None:
    await responder.bind(CreatePost.KEY)
    headers = {**auth, "Content-Type": "application/json"}
    answer = await gateway.post("/api/v1/posts", content=BAD_BODIES[name], headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]
    assert responder.received == []


async def test_big_bodies_are_413_and_other_types_415(gateway: Any, auth: Any) -> None:
    for size in (600_000, 1_200_000, 20_000_000):
        big = json.dumps(POST | {"hashtags": ["x" * size]}).encode()
        answer = await gateway.post("/api/v1/posts", content=big, headers={**auth, "Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    form = await gateway.post("/api/v1/posts", data={"caption": "x"}, headers=auth)
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")


async def test_unknown_routes_methods_and_ids(gateway: Any, auth: Any) -> None:
    assert (await gateway.get("/api/v1/posts/not-a-uuid", headers=auth)).status_code == 404
    assert (await gateway.get("/api/v1/nothing", headers=auth)).json()["code"] == "not_found"
    refused = await gateway.put("/api/v1/posts", headers=auth)
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    answer: httpx.Response = await gateway.get("/api/v1/posts/%00", headers=auth)
    assert answer.status_code == 404
