import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tiktok.webhooks import (
    RefusalKind,
    RemovalReason,
    WebhookEvent,
    WebhookRefused,
    parse_content,
    parse_event,
    removal_reason,
    sign,
    verify,
)

SECRET = SecretStr("client-secret")
STAMP = 1633174587
BODY = (
    rb'{"client_key":"ck","event":"post.publish.complete","create_time":1633174587,"user_openid":"oid-1",'
    rb'"content":"{\"publish_id\":\"v_pub_file~v2-1.1\",\"publish_type\":\"DIRECT_PUBLISH\"}"}'
)
DIGEST = "8eb13310dc3e22cd6853cae548a346827cbddb058c2bec5d03bc7918c75172ac"
HEADER = f"t={STAMP},s={DIGEST}"


def check(header: str | list[str], body: bytes = BODY, *, now: float = STAMP, tolerance: float = 300) -> int:
    return verify([header] if isinstance(header, str) else header, body, SECRET, now=now, tolerance=tolerance)


def refusal(header: str | list[str], body: bytes = BODY, **times: float) -> RefusalKind:
    with pytest.raises(WebhookRefused) as caught:
        check(header, body, **times)
    return caught.value.kind


def body_of(**changes: Any) -> bytes:
    return json.dumps({**json.loads(BODY), **changes}).encode()


def test_the_documented_vector() -> None:
    assert sign(BODY, SECRET, str(STAMP)) == DIGEST
    assert check(HEADER) == STAMP


@pytest.mark.parametrize(
    "header", [f"s={DIGEST},t={STAMP}", f"t={STAMP}, s={DIGEST}", f"t={STAMP},v=2,s={DIGEST}", f"t={STAMP},s={DIGEST.upper()}"]
)
def test_readings_of_a_right_header(header: str) -> None:
    assert check(header) == STAMP


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "t=",
        "t=,s=",
        f"t={STAMP}",
        f"s={DIGEST}",
        f"t={STAMP},t={STAMP},s={DIGEST}",
        f"t={STAMP},s={DIGEST},s={'0' * 64}",
        f"t=,t={STAMP},s={DIGEST}",
        f"t={STAMP};s={DIGEST}",
        f"t={STAMP},s={DIGEST},",
        f"t=-{STAMP},s={DIGEST}",
        f"t=+{STAMP},s={DIGEST}",
        f"t={STAMP}.0,s={DIGEST}",
        f"t={'9' * 4000},s={DIGEST}",
        f"t=0x61,s={DIGEST}",
        f"t=\N{ARABIC-INDIC DIGIT ONE}633174587,s={DIGEST}",
        f"t={STAMP},s={DIGEST[:-1]}",
        f"t={STAMP},s={DIGEST}0",
        f"t={STAMP},s={'g' * 64}",
        f"t={STAMP},s=\N{LATIN SMALL LETTER E WITH ACUTE}{DIGEST[1:]}",
        f"t={STAMP}\x00,s={DIGEST}",
        f"T={STAMP},S={DIGEST}",
        f"t={STAMP},s={'0' * 64}",
        f"t={STAMP + 1},s={DIGEST}",
        f"t=0{STAMP},s={DIGEST}",
        "t=" + "," * 1_000_000,
    ],
)
def test_wrong_headers(header: str) -> None:
    assert refusal(header) is RefusalKind.SIGNATURE


def test_exactly_one_header_counts() -> None:
    assert refusal([]) is RefusalKind.SIGNATURE
    assert refusal([HEADER, HEADER]) is RefusalKind.SIGNATURE


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY.replace(b"oid-1", b"oid-2"), b"\x00" * 100_000, b"\xff\xfe"])
def test_altered_bodies(body: bytes) -> None:
    assert refusal(HEADER, body) is RefusalKind.SIGNATURE


def test_an_empty_secret_signs_nothing() -> None:
    stamp = str(STAMP)
    header = f"t={stamp},s={sign(BODY, SecretStr(''), stamp)}"
    with pytest.raises(WebhookRefused) as caught:
        verify([header], BODY, SecretStr(""), now=STAMP, tolerance=300)
    assert caught.value.kind is RefusalKind.SIGNATURE


@pytest.mark.parametrize(
    ("seconds", "tolerance", "fine"),
    [
        (300, 300, True),
        (301, 300, False),
        (-300, 300, True),
        (-301, 300, False),
        (86_400, 259_200, True),
        (-301, 259_200, False),
        (1, 0, False),
        (-1, 0, False),
        (0, 0, True),
    ],
)
def test_age(seconds: float, tolerance: float, fine: bool) -> None:
    if fine:
        assert check(HEADER, now=STAMP + seconds, tolerance=tolerance) == STAMP
    else:
        assert refusal(HEADER, now=STAMP + seconds, tolerance=tolerance) is RefusalKind.STALE


def test_the_reason_tells_no_value() -> None:
    with pytest.raises(WebhookRefused) as caught:
        check(f"t={STAMP},s={'c0ffee' * 10}ab12")
    assert "c0ffee" not in str(caught.value) + repr(caught.value)
    with pytest.raises(WebhookRefused) as caught:
        parse_event(body_of(create_time="canary"))
    assert "create_time" in str(caught.value)
    assert "canary" not in str(caught.value)


@given(header=st.text(max_size=200), body=st.binary(max_size=200))
def test_any_header_and_body_are_refused_in_one_way(header: str, body: bytes) -> None:
    assert refusal(header, body) is RefusalKind.SIGNATURE


def test_an_event() -> None:
    event = parse_event(BODY)
    assert event == WebhookEvent(
        client_key="ck",
        event="post.publish.complete",
        create_time=STAMP,
        user_openid="oid-1",
        content={"publish_id": "v_pub_file~v2-1.1", "publish_type": "DIRECT_PUBLISH"},
    )


def test_unknown_events_and_fields_are_fine() -> None:
    event = parse_event(body_of(event="something.new", extra={"a": [1]}, content='{"b": {"c": null}}'))
    assert (event.event, event.content) == ("something.new", {"b": {"c": None}})


def test_ids_stay_exact() -> None:
    content = '{"post_id": 7602997070760331285, "n": 5, "list_id": [1, "2"], "big": [9007199254740993], "x": {"share_id": 3}}'
    assert parse_event(body_of(content=content)).content == {
        "post_id": "7602997070760331285",
        "n": 5,
        "list_id": ["1", "2"],
        "big": ["9007199254740993"],
        "x": {"share_id": "3"},
    }
    assert parse_event(body_of(content={"post_id": 1})).content == {"post_id": "1"}


@pytest.mark.parametrize(
    "content", ["", "not json", "[1]", "null", '"text"', '{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}']
)
def test_content_without_a_usable_object_stays_text(content: str) -> None:
    assert parse_content(content) is None
    assert parse_event(body_of(content=content)).content == content


def test_content_no_one_could_store() -> None:
    assert parse_content('{"a": "\\ud800"}') is None
    assert parse_content("[" * 100_000) is None
    assert parse_content('{"a":' * 20_000 + "1" + "}" * 20_000) is None
    assert parse_content('{"a": ' + "9" * 5000 + "}") is None
    assert parse_content('{"a": {"b\\u0000": 1}}') is None
    assert parse_content('{"a": "\\\\u0000"}') == {"a": "\\u0000"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"{}",
        b'{"a":' * 10_000,
        b"[" * 60_000,
        b"1" * 60_000,
        BODY[:-1],
        b" " * 70_000 + BODY,
        body_of(client_key=None),
        body_of(client_key=""),
        body_of(event=5),
        body_of(event="x" * 1000),
        body_of(event="a\x00b"),
        body_of(create_time=1633174587000),
        body_of(create_time=-1),
        body_of(create_time=None),
        body_of(create_time=1e300),
        body_of(user_openid=["a"]),
        body_of(user_openid="a\ud800"),
        body_of(content=5),
        body_of(content=["a"]),
    ],
)
def test_bodies_that_are_no_events(body: bytes) -> None:
    with pytest.raises(WebhookRefused) as caught:
        parse_event(body)
    assert caught.value.kind is RefusalKind.MALFORMED


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        parse_event(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["client_key", "event", "create_time", "user_openid", "content"]), _JSON))
def test_any_json_is_an_event_or_refused(fields: dict[str, Any]) -> None:
    body = json.dumps({**json.loads(BODY), **fields}).encode()
    try:
        event = parse_event(body)
    except WebhookRefused:
        return
    assert WebhookEvent.model_validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, RemovalReason.UNKNOWN),
        (1, RemovalReason.DISCONNECTED),
        (2, RemovalReason.ACCOUNT_DELETED),
        (3, RemovalReason.AGE_CHANGED),
        (4, RemovalReason.BANNED),
        (5, RemovalReason.DEVELOPER_REVOKED),
        (6, RemovalReason.UNKNOWN),
        (-1, RemovalReason.UNKNOWN),
        ("1", RemovalReason.DISCONNECTED),
    ],
)
def test_reasons_in_words(code: object, reason: RemovalReason) -> None:
    assert removal_reason({"reason": code, "more": 1}) is reason


@pytest.mark.parametrize("content", ["", "text", {}, {"reason": None}, {"reason": "x"}, {"reason": True}, {"reason": [1]}])
def test_reasons_of_the_wrong_shape(content: Any) -> None:
    with pytest.raises(WebhookRefused) as caught:
        removal_reason(content)
    assert caught.value.kind is RefusalKind.MALFORMED
