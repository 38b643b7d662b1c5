"""The pure rules of the edge."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.byte_range import ByteRange, RangeNotSatisfiable, parse_range
from gateway.domain.client_address import client_address, parse_networks, rate_limit_address
from gateway.domain.command_identity import keyed_command_id, request_hash
from gateway.domain.media_type import declared_family, sniff
from gateway.domain.operation_id import Operation, decode_operation, encode_operation

KEY = bytes(range(32))
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIFETIME = timedelta(days=7)


def decode(text: str, key: bytes = KEY, *, now: datetime = NOW) -> Operation | None:
    return decode_operation(text, key, now=now, lifetime=LIFETIME)


@given(st.uuids(), st.uuids(), st.sampled_from(["accounts", "scheduler"]), st.sampled_from(["posts:write", "media:write"]))
def test_an_operation_survives_the_round_trip(user_id: UUID, command_id: UUID, service: str, scope: str) -> None:
    operation = Operation(service, user_id, command_id, NOW, scope)  # type: ignore[arg-type]
    assert decode(encode_operation(operation, KEY)) == operation


@given(st.text(max_size=120))
def test_any_text_is_no_operation(text: str) -> None:
    assert decode(text) is None


@given(st.integers(0, 77), st.integers(1, 63))
def test_a_changed_character_forges_nothing(position: int, shift: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = encode_operation(Operation("scheduler", UUID(int=1), UUID(int=2), NOW, "posts:write"), KEY)
    position %= len(text)
    other = alphabet[(alphabet.index(text[position]) + shift) % 64]
    assert decode(text[:position] + other + text[position + 1 :]) is None


def test_operations_end_with_the_replies_they_name() -> None:
    text = encode_operation(Operation("scheduler", uuid4(), uuid4(), NOW, "posts:write"), KEY)
    assert decode(text, now=NOW + LIFETIME) is not None
    assert decode(text, now=NOW + LIFETIME + timedelta(seconds=1)) is None
    assert decode(text, now=NOW - timedelta(hours=1)) is None
    assert decode(text, bytes(32)) is None


def test_an_operation_of_a_key_is_the_same_at_any_time() -> None:
    operation = Operation("scheduler", uuid4(), uuid4(), None, "posts:write")
    text = encode_operation(operation, KEY)
    assert decode(text) == decode(text, now=NOW + timedelta(days=300)) == operation
    assert decode(text, bytes(32)) is None


def test_parts_of_a_request_are_kept_apart() -> None:
    assert request_hash(query=b"ab", body=b"", if_match=None) != request_hash(query=b"a", body=b"b", if_match=None)
    assert request_hash(query=b"", body=b"x", if_match=None) != request_hash(query=b"", body=b"", if_match="x")
    user_id = uuid4()
    ids = {
        keyed_command_id(user_id, "POST", "/a", "k"),
        keyed_command_id(user_id, "PUT", "/a", "k"),
        keyed_command_id(user_id, "POST", "/b", "k"),
        keyed_command_id(user_id, "POST", "/a", "l"),
        keyed_command_id(uuid4(), "POST", "/a", "k"),
    }
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (None, 10, None),
        ("", 10, None),
        ("bytes=0-0", 10, ByteRange(0, 1)),
        ("BYTES = 2 - 99", 10, ByteRange(2, 10)),
        ("bytes=-3", 10, ByteRange(7, 10)),
        ("bytes=-30", 10, ByteRange(0, 10)),
        ("bytes=5-4", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=99999999999999999999-", 10, None),
    ],
)
def test_ranges(header: str | None, size: int, expected: ByteRange | None) -> None:
    assert parse_range(header, size) == expected


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_ranges_outside_the_object(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, size)


@given(st.text(max_size=30), st.integers(0, 100))
def test_any_range_header_is_harmless(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert found is None or 0 <= found.start < found.stop <= size


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("::ffff:10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        (None, ["198.51.100.1"], "unknown"),
        ("testclient", ["198.51.100.1"], "testclient"),
    ],
)
def test_client_addresses(peer: str | None, forwarded: list[str], expected: str) -> None:
    assert client_address(peer, forwarded, parse_networks("10.0.0.0/8, ::1")) == expected


def test_an_ipv6_client_counts_as_its_network() -> None:
    assert rate_limit_address("2001:db8:1:2:3::4") == rate_limit_address("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert rate_limit_address("198.51.100.1") == "198.51.100.1"
    assert rate_limit_address("unknown") == "unknown"


@pytest.mark.parametrize(
    ("declared", "family"),
    [
        ("video/mp4", "video"),
        ("VIDEO/MP4; codecs=avc1", "video"),
        ("image/jpeg", "image"),
        ("", "undeclared"),
        ("application/octet-stream", "undeclared"),
        ("video", None),
        ("text/plain", None),
        ("videos/mp4", None),
    ],
)
def test_declared_types(declared: str, family: str | None) -> None:
    assert declared_family(declared) == family


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\x00\x00\x00\x18ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x18ftypqt  ", "video/quicktime"),
        (b"\x00\x00\x00\x18ftyp3gp6", "video/3gpp"),
        (b"\x00\x00\x00\x18ftyp3g2a", "video/3gpp2"),
        (b"\x00\x00\x00\x18ftypmjp2", "video/mj2"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x00\x00\x00\x18ftypavif", "image/avif"),
        (b"\x00\x00\x00\x08wide....", "video/quicktime"),
        (b"RIFF....AVI LIST", "video/x-msvideo"),
        (b"RIFF....WAVEfmt ", None),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"<html>", None),
        (b"MZ\x90\x00", None),
        (b"PK\x03\x04", None),
        (b"", None),
    ],
)
def test_sniffed_types(head: bytes, found: str | None) -> None:
    assert sniff(head) == found
