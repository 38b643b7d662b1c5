"""Whatever a client sends is answered with what is wrong, and never with a failure of ours.

Tables, sent to a real gateway in front of real services: each field at its limits, one beyond, of a wrong type, null, with odd
Unicode; bodies that are none; ids, limits and cursors that are none. Posts and media have tables of their own; all other routes are
found in the OpenAPI document, whichever there are.
"""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from localstack.stack import Stack
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

API = "/api/v1"
POSTS, MEDIA, ACCOUNTS, AUTH = (f"{API}/{what}" for what in ("posts", "media", "accounts", "auth"))
NOW = datetime.now(UTC)
TIME = (NOW + timedelta(days=300)).isoformat()
EMOJI, ACCENT = "\U0001f600", "e\u0301"
ODD = {
    "combining marks": ACCENT * 500 + "Z\u0351\u036b\u0343",
    "joined emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\ufe0f\U0001f3fd",
    "bidirectional controls": "\u202eabc\u202c \u2066x\u2069 \u200f",
    "the last code point": "\U0010ffff",
    "no characters": "\ufffe\uffff",
    "line ends": "a\r\nb\u2028c\u2029d\u0085",
    "controls": "\x01\x07\x1b[31m\x7f",
    "zero width": "\u200b\ufeff\u2060",
}
UNSTORABLE = ["a\x00b", "\ud800", "\udc00\ud800", "x\udfff"]
FLAGS = [*(f"disable_{what}" for what in ("comment", "duet", "stitch")), "brand_content_toggle", "brand_organic_toggle"]
FLAGS += ["is_aigc", "draft", "allow_duplicate"]

GOOD: list[tuple[str, Any]] = [
    *(("caption", text) for text in ("", "x" * 2200, EMOJI * 1100, ACCENT * 1100, *ODD.values())),
    *((name, words) for name in ("hashtags", "mentions") for words in ([], ["a"] * 100, ["x" * 100], ["\u0301x", EMOJI])),
    ("privacy_level", "SELF_ONLY"),
    *((name, value) for name in FLAGS for value in (True, False) if (name, value) != ("allow_duplicate", False)),
    ("cover_timestamp_ms", 0),
    ("cover_timestamp_ms", None),
    ("timezone", None),
    ("timezone", "Pacific/Chatham"),
    ("scheduled_time", (NOW.replace(day=1) + timedelta(days=3650)).isoformat()),
    ("publish_before", None),
    ("publish_before", (NOW + timedelta(days=300, seconds=1)).isoformat()),
]

NO_TEXT: list[Any] = [5, True, [], {}, ["a"]]
NO_FLAG: list[Any] = [0, 1, 1.0, "true", "", None, []]
NO_ID: list[Any] = ["", "x", str(uuid4())[:-1], f"{uuid4()}0", f"{uuid4()}\n", 5, True, [], str(uuid4())]
NO_LIST: list[Any] = ["a", {}, 1, None, [1], [None], [["a"]]]
NO_TIME: list[Any] = [
    *("", "tomorrow", "2030-01-01", "10:00:00Z", "2030-13-01T00:00:00Z", "2030-02-29T00:00:00Z", "2030-01-01T24:01:00Z"),
    *("2030-06-30T23:59:60Z", "2030-01-01T10:00:00+24:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "99999-01-01T00:00:00Z", "-2030-01-01T00:00:00Z", "2030-W01-1T10:00:00Z"),
    *("\u0662\u0660\u0663\u0660-01-01T10:00:00Z", "2030-01-01T10:00:00Z ", "2030-01-01T10:00:00", "1893456000", 1893456000),
    *(1893456000.5, True, [], {}, (NOW - timedelta(seconds=90)).isoformat(), (NOW + timedelta(days=3660)).isoformat()),
]
BAD: list[tuple[str, Any]] = [
    *(
        ("caption", text)
        for text in ("x" * 2201, EMOJI * 1100 + "x", ACCENT * 1101, "x" * 20_001, None, *NO_TEXT, *UNSTORABLE)
    ),
    *((name, words) for name in ("hashtags", "mentions") for words in NO_LIST),
    *(
        (name, words)
        for name in ("hashtags", "mentions")
        for words in (
            ["a"] * 101,
            ["x" * 101],
            [""],
            ["a b"],
            ["a\u2003b"],
            ["a#b"],
            ["a@b"],
            *([text] for text in UNSTORABLE),
        )
    ),
    *(("privacy_level", value) for value in ("", "EVERYBODY", "self_only", None, 1, [], "SELF_ONLY ")),
    *((name, value) for name in FLAGS for value in NO_FLAG),
    *((name, value) for name in ("media_id", "tiktok_account_id") for value in NO_ID),
    ("media_id", None),
    *(("cover_timestamp_ms", value) for value in (-1, 600_000, 600_001, 2**31, 2**63, 1.5, True, "5", [], {})),
    *(("scheduled_time", value) for value in (None, *NO_TIME)),
    *(("publish_before", value) for value in (TIME, *NO_TIME)),
    *(("timezone", value) for value in ("", "Mars/Olympus", "x" * 65, "../etc/passwd", "Factory", "localtime", "UTC\u202e")),
    *(("timezone", value) for value in (*NO_TEXT, *UNSTORABLE)),
    *((name, value) for name in ("mode", "transfer") for value in ("", "x", None, 1, [])),
    *(("source_url", value) for value in (*NO_TEXT, "x" * 2049)),
    *(("photo_urls", value) for value in (*NO_LIST, ["https://example.com/a.jpg"] * 36)),
    *(("photo_title", value) for value in (*NO_TEXT, *UNSTORABLE, "x" * 20_001)),
    *(("photo_cover_index", value) for value in (-1, 35, 1.5, True, "1", [])),
    *(("auto_add_music", value) for value in NO_FLAG),
    *((name, 1) for name in ("surprise", "id", "status", "version", "__proto__", " caption", "Caption")),
]

BODIES: dict[str, bytes] = {
    "nothing at all": b" ",
    "half": b'{"caption": ',
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a text": b'"x"',
    "a raw NUL": b'{"caption": "a\x00b"}',
    "an encoded surrogate": b'{"caption": "\xed\xa0\x80"}',
    "no UTF-8": b'{"caption": "\xff"}',
    "UTF-16": '{"caption": "x"}'.encode("utf-16"),
    "NaN": b'{"cover_timestamp_ms": NaN}',
    "beyond a double": b'{"cover_timestamp_ms": 1e999}',
    "5,000 digits": b'{"cover_timestamp_ms": ' + b"9" * 5000 + b"}",
    "deep": b'{"hashtags": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "2,000 names": json.dumps({f"k{number}": number for number in range(2000)}).encode(),
    "600 KB": b'{"caption": "' + b"x" * 600_000 + b'"}',
    "a name twice": b'{"caption": "x", "caption": "x"}',
}
NO_IDS = [
    "x",
    "1",
    "null",
    "%00",
    "%F0%9F%98%80",
    "..%2f..",
    "%ff",
    str(uuid4())[:-1],
    "a" * 500,
    str(uuid4()),
    "'; DROP TABLE posts",
]
LIMITS = ["0", "-1", "101", "99999999999999999999", "1e2", "1.5", "", "x", "\u0661", "0x10"]


class Sender:
    """Sends to one gateway in the name of one user who has an account, a video and a post."""

    def __init__(self, operator: Operator, folder: Path) -> None:
        self.http = operator.user._gateway
        account, _ = operator.account()
        media = operator.media(make_small_video(folder / "small.mp4").path)
        self.base = {
            "tiktok_account_id": account,
            "media_id": media,
            "caption": "x",
            "privacy_level": "PUBLIC_TO_EVERYONE",
            "scheduled_time": TIME,
            "allow_duplicate": True,
        }
        self.post = str(operator.user.schedule(self.base)["id"])
        operator.user.schedule(self.base)
        operator.media(folder / "small.mp4")
        self.media = media

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send JSON; lone surrogates travel as escapes."""
        if body is not None:
            options["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
        answer = self.http.request(method, path, **options)
        is_pending = answer.status_code == 202 and "operation_id" in answer.json()
        return self._in_the_end(answer.headers["location"]) if is_pending else answer

    def _in_the_end(self, location: str) -> httpx.Response:
        """Wait for the answer of a change that took its time on a busy machine."""
        told = wait_for("the operation's answer", lambda: self.http.get(location).raise_for_status().json()["answer"])
        headers = {"content-type": "application/problem+json"} if told["status"] >= 400 else {}
        return httpx.Response(told["status"], json=told["body"], headers=headers)


@pytest.fixture(scope="module")
def sender(stack: Stack, passed_secrets: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    """One for all: nothing here changes anything."""
    operator = Operator(stack)
    yield Sender(operator, tmp_path_factory.mktemp("videos"))
    passed_secrets += operator.user.secrets
    operator.close()


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(6) as pool:
        yield pool


def named(problems: list[dict[str, Any]]) -> set[str]:
    return {problem["field"].split(".")[0] for problem in problems}


def is_readable(case: tuple[str, Any]) -> bool:
    """Tell whether JSON with this value is read at all: with NUL, lone surrogates, huge numbers or much depth the body is named."""
    text = json.dumps(case)
    return text.count("[") < 64 and not any(part in text for part in ("\\u0000", "\\ud800", "\\udc00", "\\udfff", str(2**63)))


def refused(answer: httpx.Response, what: Any) -> dict[str, Any]:
    """Pass for a refusal that says what is wrong; return it."""
    assert 400 <= answer.status_code < 500, (what, answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json", what
    body: dict[str, Any] = answer.json()
    assert body["code"], what
    assert body["detail"], what
    assert body.get("request_id") == answer.headers.get("x-request-id"), what
    return body


def test_every_field_at_its_limits(sender: Sender, threads: ThreadPoolExecutor) -> None:
    def check(case: tuple[str, Any]) -> None:
        answer = sender.send("POST", f"{POSTS}/validate", sender.base | dict([case]))
        assert (answer.status_code, answer.json()["valid"]) == (200, True), (case, answer.text)

    just_now = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    list(threads.map(check, [*GOOD, ("scheduled_time", just_now)]))


def test_every_field_beyond_its_limits(sender: Sender, threads: ThreadPoolExecutor) -> None:
    """By each way that a post comes in; and nothing of it is stored."""

    def check(case: tuple[str, Any]) -> None:
        name = case[0]
        body = sender.base | dict([case])
        names = {name} if is_readable(case) else {name, "body"}
        assert names & named(refused(sender.send("POST", POSTS, body), case)["errors"]), case
        for method in ("PATCH", "PUT"):
            answer = sender.send(method, f"{POSTS}/{sender.post}", dict([case]))
            assert names & named(refused(answer, case)["errors"]), case
        answer = sender.send("POST", f"{POSTS}/validate", body)
        if answer.status_code == 200:
            assert answer.json()["valid"] is False, case
            assert names & named(answer.json()["problems"]), case
        else:
            assert names & named(refused(answer, case)["errors"]), case

    list(threads.map(check, BAD))
    readable = [case for case in BAD if is_readable(case)]
    for start in range(0, len(readable), 100):
        rows = readable[start : start + 100]
        answer = sender.send(
            "POST", f"{POSTS}/bulk", {"mode": "valid_rows", "posts": [sender.base | dict([row]) for row in rows]}
        )
        assert (answer.status_code, answer.json()["created"]) == (200, 0), answer.text[:500]
        for case, item in zip(rows, answer.json()["items"], strict=True):
            assert case[0] in named(item["problems"]), case
    assert sender.send("GET", POSTS).json()["total"] == 2
    assert sender.send("GET", f"{POSTS}/{sender.post}").headers["etag"] == '"1"'


ROUTES = ["POST /posts", "PUT /posts/{id}", "PATCH /posts/{id}", "POST /posts/validate", "POST /posts/bulk"]
ROUTES += ["POST /posts/{id}/retry", "POST /posts/{id}/confirm", "POST /posts/{id}/publish-now"]


def test_bodies_that_are_none(sender: Sender, threads: ThreadPoolExecutor) -> None:
    def check(case: tuple[str, str]) -> None:
        route, name = case
        method, path = route.split(" ")
        body = refused(sender.send(method, API + path.format(id=sender.post), BODIES[name]), case)
        assert body["code"] in {"invalid_request", "body_too_large", "invalid_body"}, (case, body)

    list(threads.map(check, [(route, name) for route in ROUTES for name in BODIES]))
    twice = f'{json.dumps(sender.base)[:-1]}, "caption": "y"}}'.encode()
    assert refused(sender.send("POST", POSTS, twice), "twice")["errors"][0]["code"] == "repeated_name"
    for kind, code in (("text/plain", 415), ("application/xml", 415), ("multipart/form-data; boundary=x", 415)):
        for route in ROUTES:
            method, path = route.split(" ")
            answer = sender.send(method, API + path.format(id=sender.post), b"{}", headers={"Content-Type": kind})
            assert refused(answer, (kind, route))["status"] == code
    assert sender.send("GET", f"{POSTS}/{sender.post}").headers["etag"] == '"1"'


def test_ids_that_are_none(sender: Sender, threads: ThreadPoolExecutor) -> None:
    bodies = {"PUT": {}, "PATCH": {}, "POST": {"tiktok_video_id": "7"}}
    paths = [
        *(("GET", f"/posts/{{}}{end}") for end in ("", "/status", "/detail")),
        *((method, "/posts/{}") for method in ("PUT", "PATCH", "DELETE")),
        ("POST", "/posts/{}/confirm"),
        *((method, "/media/{}") for method in ("GET", "DELETE")),
        *(("GET", f"/media/{{}}{end}") for end in ("/content", "/thumbnail")),
        ("GET", "/operations/{}"),
    ]

    def check(case: tuple[str, str, str]) -> None:
        method, path, name = case
        assert refused(sender.send(method, API + path.format(name), bodies.get(method)), case)["status"] == 404, case

    list(threads.map(check, [(method, path, name) for method, path in paths for name in NO_IDS]))
    video_ids = ["", "0", "x", "-1", "7" * 20, 7, None, True, [], {}, "\u0667", "7\n"]
    for name in video_ids:
        answer = sender.send("POST", f"{POSTS}/{sender.post}/confirm", {"tiktok_video_id": name})
        assert named(refused(answer, name)["errors"]) == {"tiktok_video_id"}, name


def test_limits_cursors_and_filters_that_are_none(sender: Sender, threads: ThreadPoolExecutor) -> None:
    def check(path: str) -> Callable[[tuple[str, str]], None]:
        def sent(case: tuple[str, str]) -> None:
            answer = sender.send("GET", path, params=dict([case]))
            assert refused(answer, case)["status"] == 422, case

        return sent

    for path in (POSTS, MEDIA):
        cursor = sender.send("GET", path, params={"limit": 1}).raise_for_status().json()["cursor"]
        flipped = [
            cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :] for place in range(len(cursor) - 1)
        ]
        cursors = [*flipped, cursor + "A", cursor[1:], cursor * 2, cursor * 100, "", " ", "\x00", EMOJI, "=" * 8, "null"]
        cases = [("limit", limit) for limit in LIMITS] + [("cursor", text) for text in cursors]
        cases += [("status", text) for text in ("", "PUBLISHED", "x", "\x00")]
        if path == POSTS:
            cases += [(name, text) for name in ("from", "to") for text in ("", "x", "2030-01-01", "2030-01-01T00:00:00", "0")]
            cases += [("account_id", text) for text in ("", "x", "\x00")]
        else:
            cases += [("kind", text) for text in ("", "audio", "VIDEO")]
        list(threads.map(check(path), cases))
        of_the_other = sender.send("GET", MEDIA if path == POSTS else POSTS, params={"cursor": cursor})
        assert refused(of_the_other, cursor)["code"] == "invalid_cursor"


WITH_TABLES = tuple(f"{API}/{what}" for what in ("posts", "media", "webhooks"))
"""Posts and media: above. Webhooks: nobody gets as far as the body without a signature."""
PARAMETERS_OF = (ACCOUNTS, AUTH, f"{API}/tiktok", f"{API}/audit", f"{API}/analytics")
TYPES: list[tuple[str, Any]] = [
    *(("integer", 5), ("number", 1.5), ("boolean", True), ("array", []), ("object", {}), ("string", "x"), ("null", None)),
]
UNREADABLE = [*UNSTORABLE, 2**63, -(2**63), json.loads("[" * 100 + "]" * 100)]


class Documented:
    """The routes of the gateway that have no table of their own, from its OpenAPI document."""

    def __init__(self, sender: Sender) -> None:
        document = sender.http.get("/openapi.json").raise_for_status().json()
        self._schemas = document["components"]["schemas"]
        self.routes: list[tuple[str, str, dict[str, Any]]] = [
            (method.upper(), path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if path.startswith(API) and not path.startswith(WITH_TABLES)
        ]
        self._account = str(sender.base["tiktok_account_id"])

    def with_bodies(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield method, address and the body's fields; an id in the address is the user's account."""
        for method, path, operation in self.routes:
            content = operation.get("requestBody", {"content": {}})["content"]
            if "application/json" in content:
                fields = self._followed(content["application/json"]["schema"]).get("properties", {})
                yield (
                    method,
                    self._with_id(path, self._account),
                    {name: self._followed(field) for name, field in fields.items()},
                )

    def with_ids(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield method, address with a place for the id, and a body that is as it should be."""
        bodies = {(method, path): fields for method, path, fields in self.with_bodies()}
        for method, path, _ in self.routes:
            if "{" in path:
                fields = bodies.get((method, self._with_id(path, self._account)), {})
                yield method, self._with_id(path, "{}"), {name: self.good(field) for name, field in fields.items()}

    def good(self, field: dict[str, Any]) -> Any:
        """Return a value of the type that a field has."""
        if "enum" in field:
            return field["enum"][0]
        if field["type"] == "boolean":
            return True
        if field["type"] == "array":
            return [self.good(self._followed(field["items"]))]
        return str(uuid4()) if field.get("format") == "uuid" else "x" * field.get("minLength", 1)

    def bad(self, field: dict[str, Any]) -> Iterator[Any]:
        """Yield values that no field of this type takes."""
        kinds = {one["type"] for one in field.get("anyOf", [field])}
        yield from (value for kind, value in TYPES if kind not in kinds)
        yield from UNREADABLE
        if "string" in kinds:
            yield "x" * 10_000
            yield "x" * 1_000_000
        if "enum" in field:
            yield from ("", "x", field["enum"][0].upper())
        if "array" in kinds:
            items = self._followed(field["items"])
            yield from ([value] for value in self.bad(items))
            yield [self.good(items)] * 101

    def _followed(self, schema: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        return found

    @staticmethod
    def _with_id(path: str, value: str) -> str:
        return re.sub(r"\{\w+\}", value, path)


@pytest.fixture(scope="module")
def documented(sender: Sender) -> Documented:
    documented = Documented(sender)
    known = {(method, path.removeprefix(API)) for method, path, _ in documented.routes}
    assert known >= {("POST", "/auth/login"), ("POST", "/auth/api-keys"), ("PATCH", "/accounts/{account_id}")}
    return documented


def test_every_field_of_all_other_bodies(sender: Sender, documented: Documented, threads: ThreadPoolExecutor) -> None:
    def check(case: tuple[str, str, dict[str, Any], str, Any]) -> None:
        method, path, body, name, value = case
        what = (method, path, name, repr(value)[:80])
        problem = refused(sender.send(method, path, body | {name: value}), what)
        if problem["status"] == 413:
            assert len(json.dumps(value)) >= 1_000_000, what
            return
        assert problem["status"] == 422, (what, problem)
        names = {name} if is_readable((name, value)) else {name, "body"}
        assert names & named(problem["errors"]), (what, problem)

    cases = [
        (method, path, {each: documented.good(given) for each, given in fields.items() if "type" in given}, name, value)
        for method, path, fields in documented.with_bodies()
        for name, field in [*fields.items(), ("surprise", {"type": "null"})]
        for value in (documented.bad(field) if name != "surprise" else [1])
    ]
    assert len(cases) > 100
    list(threads.map(check, cases))


def test_all_other_bodies_that_are_none(sender: Sender, documented: Documented, threads: ThreadPoolExecutor) -> None:
    def check(case: tuple[str, str, str]) -> None:
        method, path, name = case
        body = refused(sender.send(method, path, BODIES[name]), case)
        assert body["code"] in {"invalid_request", "body_too_large"}, (case, body)

    routes = [(method, path) for method, path, _ in documented.with_bodies()]
    list(threads.map(check, [(*route, name) for route in routes for name in BODIES]))
    for method, path, fields in documented.with_bodies():
        for name, field in fields.items():
            if "type" in field:
                text = json.dumps({each: documented.good(given) for each, given in fields.items() if "type" in given})
                twice = f"{text[:-1]}, {json.dumps(name)}: {json.dumps(documented.good(field))}}}"
                problem = refused(sender.send(method, path, twice.encode()), (method, path, name))
                assert [error["code"] for error in problem["errors"]] == ["repeated_name"], (method, path, name)
    for method, path in routes:
        for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
            answer = sender.send(method, path, b"{}", headers={"Content-Type": kind})
            assert refused(answer, (method, path, kind))["code"] == "unsupported_media_type"


def test_all_other_ids_and_parameters_that_are_none(
    sender: Sender, documented: Documented, threads: ThreadPoolExecutor
) -> None:
    def check_id(case: tuple[str, str, dict[str, Any], str]) -> None:
        method, path, body, name = case
        assert refused(sender.send(method, path.format(name), body or None), case)["status"] == 404, case

    def check_parameter(case: tuple[str, str, str]) -> None:
        path, name, value = case
        answer = sender.send("GET", documented._with_id(path, documented._account), params={name: value})
        assert refused(answer, case)["status"] == 422, case

    list(threads.map(check_id, [(*route, name) for route in documented.with_ids() for name in NO_IDS]))
    cases: list[tuple[str, str, str]] = []
    for method, path, operation in documented.routes:
        for parameter in operation.get("parameters", []) if method == "GET" and path.startswith(PARAMETERS_OF) else []:
            name, schema = parameter["name"], parameter["schema"]
            kinds = {one.get("type") for one in schema.get("anyOf", [schema])}
            bad = ["\x00"] if parameter["in"] == "query" else []
            bad += [*LIMITS, str(schema.get("maximum", 2**63) + 1)] if "integer" in kinds else []
            bad += ["", "x"] if "enum" in schema or "boolean" in kinds else []
            bad += ["x" * (schema["maxLength"] + 1)] if "maxLength" in schema and parameter["in"] == "query" else []
            bad += ["x", " ", "=" * 8, EMOJI] if name == "cursor" else []
            cases += [(path, name, value) for value in bad]
    assert {name for _, name, _ in cases} >= {"limit", "cursor", "status", "search", "browser"}
    list(threads.map(check_parameter, cases))
    assert [item["id"] for item in sender.send("GET", ACCOUNTS).json()["items"]] == [documented._account]
    assert sender.send("GET", f"{AUTH}/api-keys").json()["total"] == 0


def test_headers_that_are_none(sender: Sender) -> None:
    post = f"{POSTS}/{sender.post}"
    for key in ("", "a b", "x" * 256, "\u00e4"):
        answer = sender.send("POST", POSTS, sender.base, headers={"Idempotency-Key": key.encode("latin-1")})
        assert refused(answer, key)["code"] == "invalid_idempotency_key"
    for tag in ("1", '"1', "W/", '"1" "2"', "*,", '"\x01"'):
        answer = sender.send("PATCH", post, {"caption": "y"}, headers={"If-Match": tag})
        assert refused(answer, tag)["code"] in {"invalid_if_match", "bad_request"}, tag
    for ranges in ("bytes=99999999999-", "bytes=-0"):
        answer = sender.send("GET", f"{MEDIA}/{sender.media}/content", headers={"Range": ranges})
        assert answer.status_code == 416, ranges
    for ranges in ("bytes=", "bytes=x-y", "bytes=5-1", "lines=1-2", "bytes=0-1,3-4"):
        answer = sender.send("GET", f"{MEDIA}/{sender.media}/content", headers={"Range": ranges})
        assert answer.status_code == 200, ranges


def test_uploads_that_are_none(sender: Sender) -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    bodies = {
        "no parts": (b"--B--\r\n", "multipart/form-data; boundary=B"),
        "another field": (head.replace(b'"file"', b'"video"') + b"x\r\n--B--\r\n", "multipart/form-data; boundary=B"),
        "an empty file": (head + b"\r\n--B--\r\n", "multipart/form-data; boundary=B"),
        "no end": (head + b"\x00\x00\x00\x18ftypmp42", "multipart/form-data; boundary=B"),
        "no boundary": (head, "multipart/form-data"),
        "no form": (b"{}", "application/json"),
        "text": (head + b"hello\r\n--B--\r\n", "multipart/form-data; boundary=B"),
        "half a video": (
            head + b"\x00\x00\x00\x18ftypmp42" + bytes(500) + b"\r\n--B--\r\n",
            "multipart/form-data; boundary=B",
        ),
    }
    for name, (body, kind) in bodies.items():
        answer = sender.http.post(f"{MEDIA}/upload", content=body, headers={"Content-Type": kind})
        assert refused(answer, name)["status"] in {400, 415, 422}, name
    assert sender.send("GET", MEDIA, params={"status": "ready"}).json()["total"] == 2
