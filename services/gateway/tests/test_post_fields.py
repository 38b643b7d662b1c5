"""Every field of a post at its limit, one beyond, of a wrong type, null, and with odd Unicode: told or sent on, never a 500."""

import json
from typing import Any
from uuid import uuid4

import pytest

from common.contracts.scheduler import CreatePost, CreatePosts, PostFields, UpdatePost
from common.messaging.reply import Reply

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"
ID = str(uuid4())
TEXTS = ["caption", "timezone", "source_url", "photo_title"]
FLAGS = [name for name, field in PostFields.model_fields.items() if field.annotation is bool]
LISTS = {"hashtags": 100, "mentions": 100, "photo_urls": 35}
TIMES = ["scheduled_time", "publish_before"]
IDS = ["tiktok_account_id", "media_id"]
CHOICES = {
    "privacy_level": ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY"],
    "mode": ["direct", "inbox"],
    "transfer": ["upload", "pull"],
}
NULLABLE = [*TIMES, *IDS, "timezone", "source_url", "privacy_level", "cover_timestamp_ms", "photo_title", "photo_cover_index"]

GOOD: list[tuple[str, Any]] = [
    ("caption", ""),
    ("caption", "x" * 20_000),
    ("timezone", "x" * 64),
    ("source_url", "x" * 2048),
    ("cover_timestamp_ms", 0),
    ("cover_timestamp_ms", 600_000),
    ("photo_title", "x" * 20_000),
    ("photo_cover_index", 0),
    ("photo_cover_index", 34),
    *((name, []) for name in LISTS),
    *((name, ["a"] * limit) for name, limit in LISTS.items()),
    *((name, value) for name in FLAGS for value in (True, False)),
    *((name, value) for name, values in CHOICES.items() for value in values),
    *((name, None) for name in NULLABLE),
    *((name, ID) for name in IDS),
    *((name, text) for name in TIMES for text in ("2030-01-01T10:00:00Z", "2030-01-01t10:00:00.123456+05:30")),
    ("scheduled_time", "2030-01-01T10:00"),
    ("scheduled_time", "1900-01-01T00:00:00Z"),
    ("scheduled_time", "9000-12-31T23:59:59Z"),
]
ODD_TEXT = {
    "combining marks": "e\u0301" * 500 + "Z\u0351\u036b\u0343",
    "emoji with joiners": "\U0001f469\u200d\U0001f469\u200d\U0001f467\ufe0f\U0001f3fd",
    "bidirectional controls": "\u202eabc\u202c \u2066x\u2069 \u200f",
    "the last code point": "\U0010ffff",
    "not a character": "\ufffe\uffff",
    "line ends": "a\r\nb\u2028c\u2029d\u0085",
    "control characters": "\x01\x07\x1b[31m\x7f",
    "zero width": "\u200b\ufeff\u2060",
}
BAD: list[tuple[str, Any]] = [
    ("caption", "x" * 20_001),
    ("timezone", "x" * 65),
    ("source_url", "x" * 2049),
    ("cover_timestamp_ms", -1),
    ("cover_timestamp_ms", 600_001),
    ("cover_timestamp_ms", 1.5),
    ("cover_timestamp_ms", 2**63 - 1),
    ("cover_timestamp_ms", True),
    ("photo_title", "x" * 20_001),
    ("photo_cover_index", -1),
    ("photo_cover_index", 35),
    ("photo_cover_index", "1"),
    *((name, ["a"] * (limit + 1)) for name, limit in LISTS.items()),
    *((name, value) for name in LISTS for value in ("a", {}, 1, [1], [None], [["a"]], None)),
    *((name, value) for name in TEXTS for value in (1, True, [], {}, ["a"])),
    *((name, value) for name in FLAGS for value in (0, 1, "true", "", None, [], 1.0)),
    *((name, value) for name in CHOICES for value in ("", "x", 1, [], "self_only", "direct ")),
    *((name, None) for name in ("caption", "mode", "transfer")),
    *((name, value) for name in IDS for value in ("", "x", ID[:-1], ID + "0", 5, [], f"{ID}\n", True)),
    *(
        (name, value)
        for name in TIMES
        for value in (
            "",
            "tomorrow",
            "2030-01-01",
            "10:00:00Z",
            "2030-13-01T00:00:00Z",
            "2030-02-29T00:00:00Z",
            "2030-01-01T24:01:00Z",
            "2030-06-30T23:59:60Z",
            "2030-01-01T10:00:00+24:00",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "1899-12-31T23:59:59Z",
            "9001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "99999-01-01T00:00:00Z",
            "-2030-01-01T00:00:00Z",
            "2030-W01-1T10:00:00Z",
            "٢٠٣٠-01-01T10:00:00Z",
            "2030-01-01T10:00:00Z ",
            "1893456000",
            1893456000,
            1893456000.5,
            True,
            [],
        )
    ),
    ("publish_before", "2030-01-01T10:00:00"),
]


@pytest.fixture
async def routes(gateway: Any, responder: Any) -> list[tuple[str, str]]:
    responder.script = lambda _: Reply(status=200, body={})
    await responder.bind(CreatePost.KEY, UpdatePost.KEY, CreatePosts.KEY)
    return [("POST", POSTS), ("PATCH", f"{POSTS}/{uuid4()}"), ("PUT", f"{POSTS}/{uuid4()}")]


async def test_good_values_are_sent_on_as_they_are(gateway: Any, responder: Any, routes: Any, auth: Any) -> None:
    cases = [*GOOD, *((name, text) for name in ("caption", "timezone") for text in ODD_TEXT.values() if len(text) < 65)]
    for name, value in [*cases, *(("hashtags", [text]) for text in ODD_TEXT.values())]:
        for method, url in routes:
            answer = await gateway.request(method, url, json={name: value}, headers=auth)
            assert answer.status_code == 200, (method, name, value, answer.text)
    wanted = [value for _, value in cases]
    for (name, value), envelope in zip(cases, responder.received[1::3], strict=False):
        sent = envelope.data["changes"][name]
        assert sent == value or name in TIMES, name
    assert len(responder.received) >= 3 * len(wanted)


async def test_bad_values_are_told_by_field_and_never_sent(gateway: Any, responder: Any, routes: Any, auth: Any) -> None:
    for number, (name, value) in enumerate(BAD):
        method, url = routes[number % len(routes)]
        answer = await gateway.request(method, url, json={name: value}, headers=auth)
        assert answer.status_code == 422, (method, name, value, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert {error["field"].split(".")[0] for error in answer.json()["errors"]} == {name}, (name, value)
    assert responder.received == []


async def test_in_a_batch_they_are_told_in_their_row(gateway: Any, responder: Any, routes: Any, auth: Any) -> None:
    small = [(name, value) for name, value in BAD if len(json.dumps(value)) < 1000]
    for start in range(0, len(small), 400):
        rows = small[start : start + 400]
        body = {"posts": [{name: value} for name, value in rows]}
        answer = await gateway.post(f"{POSTS}/bulk", json=body, headers=auth)
        assert answer.status_code == 200, answer.text
        told = responder.received[-1].data["rows"]
        assert [row["post"] for row in told] == [None] * len(rows)
        assert [{problem["field"].split(".")[0] for problem in row["problems"]} for row in told] == [
            {name} for name, _ in rows
        ]


@pytest.mark.parametrize("path", ["", "/{id}", "/bulk", "/validate", "/{id}/retry", "/{id}/confirm"])
@pytest.mark.parametrize("text", ['"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"a\x00b"', '"\\uDFFFx"'])
async def test_text_that_cannot_be_stored_reaches_nobody(
    gateway: Any, responder: Any, services: Any, routes: Any, auth: Any, path: str, text: str
) -> None:
    url = POSTS + path.format(id=uuid4())
    method = "PATCH" if path == "/{id}" else "POST"
    field = f'{{"caption": {text}}}' if path != "/bulk" else f'{{"posts": [{{"caption": {text}}}]}}'
    headers = {**auth, "Content-Type": "application/json"}
    answer = await gateway.request(method, url, content=field.encode("utf-8", "surrogatepass"), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert responder.received == []
    assert services.calls_of("/internal/posts/validate") == []


@pytest.mark.parametrize("limit", ["0", "-1", "101", "99999999999999999999", "1e2", "", "x", "\u0661"])
async def test_queries_go_on_untouched_for_their_owner_to_judge(gateway: Any, services: Any, auth: Any, limit: str) -> None:
    """The scheduler judges limits and cursors; its tests show how."""
    problem = {"code": "invalid_request", "status": 422}
    services.answer("GET", "/internal/posts", problem, status=422)
    answer = await gateway.get(POSTS, params={"limit": limit}, headers=auth)
    assert answer.status_code == 422
    (call,) = services.calls_of("/internal/posts")
    assert call["query"].startswith("limit=")
