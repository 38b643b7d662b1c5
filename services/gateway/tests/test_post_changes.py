"""Editing, validating, retrying, confirming and batches: what the gateway reads, sends and refuses."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.scheduler import ConfirmPost, CreatePosts, RetryPost, UpdatePost
from common.messaging.reply import Reply

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"


async def test_only_given_fields_travel(gateway: Any, responder: Any, auth: Any) -> None:
    post_id = uuid4()
    responder.script = lambda _: Reply(status=200, body={"id": str(post_id)}, headers={"ETag": '"4"'})
    await responder.bind(UpdatePost.KEY)
    body = {"caption": "new", "privacy_level": None, "draft": False, "scheduled_time": "2030-01-01T10:00:00+02:00"}
    for method in ("PUT", "PATCH"):
        answer = await gateway.request(method, f"{POSTS}/{post_id}", json=body, headers=auth)
        assert (answer.status_code, answer.headers["etag"]) == (200, '"4"'), answer.text
    nothing = await gateway.patch(f"{POSTS}/{post_id}", json={}, headers=auth)
    assert nothing.status_code == 200
    first, second, empty = (envelope.data for envelope in responder.received)
    assert first == second == {"post_id": str(post_id), "changes": body, "if_match": None}
    assert empty["changes"] == {}


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        ([], None),
        (["*"], None),
        (['"3"'], ["3"]),
        (['"3", "4"'], ["3", "4"]),
        (['"3"', '"4"'], ["3", "4"]),
        (['W/"3"'], []),
        (['W/"3", "4"'], ["4"]),
        ([', "3",,'], ["3"]),
        (['"a,b"'], ["a,b"]),
        (['""'], [""]),
        (["3"], "malformed"),
        (['"3'], "malformed"),
        (['w/"3"'], "malformed"),
        (['"3" "4"'], "malformed"),
        (['*, "3"'], "malformed"),
        (["*", "*"], "malformed"),
        ([""], "malformed"),
        ([","], "malformed"),
        (['"a b"'], "malformed"),
        ([", ".join(f'"{n}"' for n in range(101))], "malformed"),
    ],
)
async def test_if_match(gateway: Any, responder: Any, auth: Any, lines: list[str], sent: Any) -> None:
    await responder.bind(UpdatePost.KEY)
    headers = [*auth.items(), *(("If-Match", line) for line in lines)]
    answer = await gateway.patch(f"{POSTS}/{uuid4()}", json={"caption": "x"}, headers=headers)
    if sent == "malformed":
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_if_match")
        assert responder.received == []
    else:
        assert answer.status_code == 200
        assert responder.received[0].data["if_match"] == sent


async def test_every_line_of_if_match_makes_another_request(gateway: Any, responder: Any, auth: Any) -> None:
    await responder.bind(UpdatePost.KEY)
    url, keyed = f"{POSTS}/{uuid4()}", [*auth.items(), ("Idempotency-Key", "k")]
    for tags in (['"1"'], ['"1"', '"2"'], ['"1", "2"']):
        await gateway.patch(url, json={}, headers=[*keyed, *(("If-Match", tag) for tag in tags)])
    one, two, joined = responder.received
    assert one.requesthash != two.requesthash == joined.requesthash


async def test_validation_is_a_question_to_the_scheduler(gateway: Any, services: Any, responder: Any, auth: Any) -> None:
    services.answer("POST", "/internal/posts/validate", {"valid": False, "problems": []})
    answer = await gateway.post(f"{POSTS}/validate", json={"caption": "x"}, headers=auth)
    assert (answer.status_code, answer.json()) == (200, {"valid": False, "problems": []})
    (call,) = services.calls_of("/internal/posts/validate")
    assert json.loads(call["body"]) == {"caption": "x"}
    assert call["headers"]["authorization"] == auth["Authorization"]
    unread = await gateway.post(f"{POSTS}/validate", json={"caption": 5, "surprise": 1}, headers=auth)
    assert (unread.status_code, {item["field"] for item in unread.json()["errors"]}) == (422, {"caption", "surprise"})


async def test_retry_and_confirm(gateway: Any, responder: Any, auth: Any) -> None:
    post_id = uuid4()
    responder.script = lambda _: Reply(status=202, body={})
    await responder.bind(RetryPost.KEY, ConfirmPost.KEY)
    url = f"{POSTS}/{post_id}"
    assert (await gateway.post(f"{url}/retry", headers=auth)).status_code == 202
    await gateway.post(f"{url}/retry", json={"confirm_not_published": True}, headers=auth)
    await gateway.post(f"{url}/retry", json={"allow_duplicate": True, "not_videos": ["7301234567890123456"]}, headers=auth)
    await gateway.post(f"{url}/confirm", json={"tiktok_video_id": "7301234567890123456"}, headers=auth)
    plain, confirmed, doubled, found = responder.received
    words = [(one.data["confirm_not_published"], one.data["allow_duplicate"]) for one in (plain, confirmed, doubled)]
    assert words == [(False, False), (True, False), (False, True)]
    assert [one.data["not_videos"] for one in (plain, doubled)] == [[], ["7301234567890123456"]]
    assert found.data == {"post_id": str(post_id), "tiktok_video_id": "7301234567890123456"}
    assert {envelope.subject for envelope in responder.received} == {str(post_id)}


@pytest.mark.parametrize(
    "body",
    [{}, {"tiktok_video_id": 7}, {"tiktok_video_id": ""}, {"tiktok_video_id": "7" * 20}, {"tiktok_video_id": "07"}]
    + [{"tiktok_video_id": text} for text in ("-1", "1.5", "٣٤", "12a", " 12", "12\n", None)],
)
async def test_what_is_no_video_id(gateway: Any, responder: Any, auth: Any, body: Any) -> None:
    await responder.bind(ConfirmPost.KEY)
    answer = await gateway.post(f"{POSTS}/{uuid4()}/confirm", json=body, headers=auth)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "tiktok_video_id")
    assert responder.received == []


@pytest.mark.parametrize(
    "body",
    [{"confirm_not_published": "true"}, {"confirm_not_published": None}, {"allow_duplicate": 1}, {"other": 1}, []]
    + [{"not_videos": ids} for ids in ([7301234567890123456], ["07"], ["x"], "7", None, ["7"] * 201)],
)
async def test_what_is_no_retry(gateway: Any, responder: Any, auth: Any, body: Any) -> None:
    await responder.bind(RetryPost.KEY)
    assert (await gateway.post(f"{POSTS}/{uuid4()}/retry", json=body, headers=auth)).status_code == 422
    assert responder.received == []


async def test_a_batch_as_json(gateway: Any, responder: Any, auth: Any) -> None:
    responder.script = lambda _: Reply(status=200, body={"items": []})
    await responder.bind(CreatePosts.KEY)
    rows = [{"caption": "a", "hashtags": ["x"]}, {"caption": 5}, "no post", {"surprise": 1}]
    body = {"posts": rows, "mode": "valid_rows", "dry_run": True}
    answer = await gateway.post(f"{POSTS}/bulk", json=body, headers=auth)
    assert (answer.status_code, answer.json()) == (200, {"items": []})
    data = responder.received[0].data
    assert (data["mode"], data["dry_run"]) == ("valid_rows", True)
    first, wrong_type, no_object, unknown = data["rows"]
    assert first == {"row": 1, "post": {"caption": "a", "hashtags": ["x"]}, "problems": []}
    told = [[(problem["field"], problem["code"]) for problem in row["problems"]] for row in (wrong_type, no_object, unknown)]
    assert told == [[("caption", "string_type")], [("row", "model_type")], [("surprise", "extra_forbidden")]]
    assert [row["post"] for row in (wrong_type, no_object, unknown)] == [None] * 3


CSV = """caption,hashtags,scheduled_time,is_aigc,cover_timestamp_ms,privacy_level
"Hello, ""world""\nsecond line",fun cats,2030-01-01T10:00:00Z,TRUE,1500,SELF_ONLY
,,,maybe,x,

plain
"""


async def test_a_batch_as_csv(gateway: Any, responder: Any, auth: Any) -> None:
    responder.script = lambda _: Reply(status=200, body={"items": []})
    await responder.bind(CreatePosts.KEY)
    headers = {**auth, "Content-Type": "text/csv; charset=utf-8"}
    for text in (CSV, "\ufeff" + CSV.replace("\n", "\r\n").replace("\r\nsecond", "\nsecond")):
        url = f"{POSTS}/bulk?mode=valid_rows&dry_run=true"
        answer = await gateway.post(url, content=text.encode(), headers=headers)
        assert answer.status_code == 200, answer.text
    data, with_mark = (envelope.data for envelope in responder.received)
    assert data == with_mark
    assert (data["mode"], data["dry_run"]) == ("valid_rows", True)
    assert data["rows"][0]["post"] == {
        "caption": 'Hello, "world"\nsecond line',
        "hashtags": ["fun", "cats"],
        "scheduled_time": "2030-01-01T10:00:00Z",
        "is_aigc": True,
        "cover_timestamp_ms": 1500,
        "privacy_level": "SELF_ONLY",
    }
    assert [problem["field"] for problem in data["rows"][1]["problems"]] == ["is_aigc", "cover_timestamp_ms"]
    assert data["rows"][2] == {"row": 3, "post": {"caption": "plain"}, "problems": []}


BAD_CSV: dict[str, bytes] = {
    "nothing": b"",
    "no rows": b"caption\n",
    "only empty rows": b"caption\n\n , \n",
    "no header": b"\nx\n",
    "unknown column": b"caption,title\nx,y\n",
    "column without a name": b"caption,\nx,y\n",
    "column twice": b"caption,caption\nx,y\n",
    "too many cells": b"caption\nx,y\n",
    "open quote": b'caption\n"x\n',
    "text after a quote": b'caption\n"x"y\n',
    "not UTF-8": b"caption\n\xff\n",
    "UTF-16": "caption\nx\n".encode("utf-16"),
    "NUL": b"caption\na\x00b\n",
    "encoded surrogate": b"caption\n\xed\xa0\x80\n",
    "501 rows": b"caption\n" + b"x\n" * 501,
    "huge cell": b"caption\n" + b"x" * 200_000 + b"\n",
}


@pytest.mark.parametrize("name", BAD_CSV)
async def test_bad_csv_is_told_and_never_sent(gateway: Any, responder: Any, auth: Any, name: str) -> None:
    await responder.bind(CreatePosts.KEY)
    answer = await gateway.post(f"{POSTS}/bulk", content=BAD_CSV[name], headers={**auth, "Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_csv"), answer.text
    assert responder.received == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"posts": []},
        {"posts": [{}] * 501},
        {"posts": {}},
        {"posts": None},
        {"posts": [{}], "mode": "some"},
        {"posts": [{}], "dry_run": 1},
        {"posts": [{}], "more": 1},
        [{}],
    ],
)
async def test_bad_batches_are_told_and_never_sent(gateway: Any, responder: Any, auth: Any, body: Any) -> None:
    await responder.bind(CreatePosts.KEY)
    answer = await gateway.post(f"{POSTS}/bulk", json=body, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert responder.received == []


LONGEST = "\u20ac" * 2200


@pytest.mark.parametrize("kind", ["JSON", "JSON with escapes", "CSV"])
async def test_as_many_posts_as_are_promised_with_the_longest_captions(
    gateway: Any, responder: Any, auth: Any, kind: str
) -> None:
    responder.script = lambda _: Reply(status=200, body={"created": 500})
    await responder.bind(CreatePosts.KEY)
    if kind == "CSV":
        body, content_type = ("caption\n" + f"{LONGEST}\n" * 500).encode(), "text/csv"
    else:
        rows = {"posts": [{"caption": LONGEST}] * 500}
        body, content_type = json.dumps(rows, ensure_ascii=kind != "JSON").encode(), "application/json"
    answer = await gateway.post(f"{POSTS}/bulk", content=body, headers={**auth, "Content-Type": content_type})
    assert (answer.status_code, answer.json()) == (200, {"created": 500}), answer.text
    assert [row["post"] for row in responder.received[0].data["rows"]] == [{"caption": LONGEST}] * 500
    # Any other route takes what one post needs.
    single = await gateway.post(POSTS, content=body, headers={**auth, "Content-Type": "application/json"})
    assert (single.status_code, single.json()["code"]) == (413, "body_too_large")


async def test_bounds_of_batches(gateway: Any, responder: Any, auth: Any) -> None:
    responder.script = lambda _: Reply(status=200, body={})
    await responder.bind(CreatePosts.KEY)
    bulk = f"{POSTS}/bulk"
    assert (await gateway.post(bulk, json={"posts": [{}] * 500}, headers=auth)).status_code == 200
    assert len(responder.received[0].data["rows"]) == 500
    for kind, body in (
        ("text/csv", b"caption\n" + b"x" * 9_000_000),
        ("application/json", b'{"posts": ["' + b"x" * 9_000_000),
    ):
        big = await gateway.post(bulk, content=body, headers={**auth, "Content-Type": kind})
        assert (big.status_code, big.json()["code"]) == (413, "body_too_large")
    swelling = b"caption\n" + b"\n".join([b"\x01" * 10_000] * 100)
    swollen = await gateway.post(bulk, content=swelling, headers={**auth, "Content-Type": "text/csv"})
    assert (swollen.status_code, swollen.json()["code"]) == (413, "body_too_large")
    assert len(responder.received) == 1
    strange = {"posts": [{f"a{n}": n for n in range(60)}] * 500}
    assert (await gateway.post(bulk, json=strange, headers=auth)).status_code == 200
    assert {len(row["problems"]) for row in responder.received[1].data["rows"]} == {10}
    other = await gateway.post(bulk, content=b"x", headers={**auth, "Content-Type": "text/plain"})
    assert (other.status_code, other.json()["code"]) == (415, "unsupported_media_type")
    for query in ("mode=some", "dry_run=perhaps", "more=1"):
        wrong = await gateway.post(f"{bulk}?{query}", content=b"caption\nx", headers={**auth, "Content-Type": "text/csv"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_request"), query


async def test_ids_that_are_none_are_404(gateway: Any, auth: Any) -> None:
    for post_id in ("x", "0", "%F0%9F%98%80", "01a1fdb2-0a1b-76dd-9045-20f44e52315"):
        for method, path in (("PATCH", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/retry"), ("POST", "/confirm")):
            answer = await gateway.request(method, f"{POSTS}/{post_id}{path}", json={}, headers=auth)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)


async def test_a_key_twice_in_one_request_is_refused(gateway: Any, auth: Any) -> None:
    headers = [*auth.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await gateway.delete(f"{POSTS}/{uuid4()}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")


@pytest.mark.parametrize("key", ["k", "~", "x" * 255])
async def test_keys_at_their_limits(gateway: Any, responder: Any, auth: Any, key: str) -> None:
    responder.script = lambda _: Reply(status=200, body={})
    await responder.bind(UpdatePost.KEY)
    answer = await gateway.patch(f"{POSTS}/{uuid4()}", json={}, headers={**auth, "Idempotency-Key": key})
    assert answer.status_code == 200
    assert responder.received[0].id.version == 5


async def test_one_key_on_two_posts_is_two_keys(gateway: Any, responder: Any, auth: Any) -> None:
    await responder.bind(UpdatePost.KEY, RetryPost.KEY)
    headers = {**auth, "Idempotency-Key": "k"}
    one, other = uuid4(), uuid4()
    requests = [("PATCH", one, ""), ("PATCH", other, ""), ("PUT", one, ""), ("POST", one, "/retry"), ("POST", other, "/retry")]
    for method, post_id, path in requests:
        await gateway.request(method, f"{POSTS}/{post_id}{path}", json={}, headers=headers)
    assert len({envelope.id for envelope in responder.received}) == len(requests)


async def test_head_is_get_without_its_body(gateway: Any, services: Any, auth: Any, user_id: UUID) -> None:
    post_id = uuid4()
    services.answer("GET", f"/internal/posts/{post_id}", {"id": str(post_id)}, headers={"ETag": '"3"'})
    got = await gateway.get(f"{POSTS}/{post_id}", headers=auth)
    head = await gateway.head(f"{POSTS}/{post_id}", headers=auth)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", '"3"')
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))
    assert (await gateway.head(f"{POSTS}/{uuid4()}", headers=auth)).status_code == 404
    assert (await gateway.head(f"{POSTS}/{post_id}")).status_code == 401
    assert (await gateway.head("/healthz")).status_code == 200
    refused = await gateway.head(f"{POSTS}/{post_id}/retry", headers=auth)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
