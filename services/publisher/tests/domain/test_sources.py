"""Addresses, answers and first bytes of files that are fetched."""

from datetime import UTC, datetime

import pytest

from publisher.domain import source_troubles
from publisher.domain.containers import container_of, looks_like_text
from publisher.domain.outcomes import Defer, Fail
from publisher.domain.public_addresses import is_public
from publisher.domain.resuming import Continuation, Version, continuation, version_of
from publisher.domain.source_url import UrlRefused, host_of, read_source_url, redirected

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.9.9.9",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "nonsense",
        "1.2.3",
        "localhost",
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v.mp4",
        "https://example.com:8443/v.mp4",
        "https://user@example.com/v.mp4",
        "https://user:pass@example.com/v.mp4",
        "https:///v.mp4",
        "https://example.com/a b.mp4",
        "https://example.com/\u00e4.mp4",
        "https://example.com:port/",
        "https://[/",
        "ftp://example.com/v.mp4",
        "https://127.0.0.1/v.mp4",
        "https://[64:ff9b::7f00:1]/v.mp4",
        "https://example.com/" + "x" * 9000,
    ],
)
def test_addresses_that_are_not_fetched(url: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        read_source_url(url, NONE)
    assert "/v.mp4" not in refused.value.reason


def test_addresses_that_are() -> None:
    source = read_source_url("https://Example.com/v.mp4?sig=SECRET", NONE)
    assert (source.host, source.is_https, source.may_be_private) == ("example.com", True, False)
    assert "SECRET" not in repr(source)
    assert read_source_url("https://8.8.8.8:443/v.mp4", NONE).host == "8.8.8.8"
    allowed = frozenset({"127.0.0.1:8000", "files"})
    assert read_source_url("http://127.0.0.1:8000/v", allowed).may_be_private
    assert read_source_url("https://files:9/v", allowed).may_be_private
    with pytest.raises(UrlRefused):
        read_source_url("http://127.0.0.1:8001/v", allowed)


def test_redirects() -> None:
    source = read_source_url("https://example.com/a/v.mp4", NONE)
    assert redirected(source, "b.mp4#t=1", NONE).url == "https://example.com/a/b.mp4"
    assert redirected(source, "//cdn.example.com/v", NONE).host == "cdn.example.com"
    assert redirected(source, "/\u00e4 b%2F.mp4?k=%2b", NONE).url == "https://example.com/%C3%A4%20b%2F.mp4?k=%2b"
    assert redirected(source, "/\udce4", NONE).url == "https://example.com/%E4"
    for location in ("http://example.com/v", "https://127.0.0.1/", "https://[/"):
        with pytest.raises(UrlRefused):
            redirected(source, location, NONE)
    with pytest.raises(UrlRefused, match="from https to http"):
        redirected(source, "http://dev/v", frozenset({"dev"}))


def test_the_host_that_is_shown() -> None:
    assert (host_of("https://example.com/v?k=s"), host_of("https://[/"), host_of("x")) == (
        "example.com",
        "The host",
        "The host",
    )


def ebml(doctype: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82" + bytes([0x80 | len(doctype)]) + doctype + bytes(20)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\0\0\0\x18ftypisom", "video/mp4"),
        (b"\0\0\0\x18ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x18ftypheic", None),
        (b"\0\0\0\x18ftyp3gp4\0\0\2\0isom3gp4", None),
        (b"\0\0\0\x14ftyp3g2a\0\0\0\0isommp42", None),
        (b"\0\0\0\x18ftypmjp2\0\0\0\0mjp2isom", None),
        (b"\0\0\0\x18ftyp3gp4\0\0\2\0isommp42", "video/mp4"),
        (b"\0\0\0\x18moov....", "video/quicktime"),
        (ebml(b"webm"), "video/webm"),
        (ebml(b"webm\0\0"), "video/webm"),
        (ebml(b"matroska"), None),
        (b"\x1a\x45\xdf\xa3\x9f", None),
        (b"\x1a\x45\xdf\xa3\x42\x82", None),
        (b"", None),
        (b"\xff\xd8\xff\xe0", None),
    ],
)
def test_containers(head: bytes, found: str | None) -> None:
    assert container_of(head) == found


def test_texts() -> None:
    assert looks_like_text(b"\xef\xbb\xbf\n <html>", "video/mp4")
    assert looks_like_text(b"words", "Text/Plain; charset=utf-8")
    assert looks_like_text(b"x", "application/json")
    assert not looks_like_text(b"\xff\xd8", "application/octet-stream")


LATE, EARLY = "Fri, 01 May 2026 12:00:00 GMT", "Fri, 01 May 2026 11:59:59 GMT"


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"a"'}, '"a"'),
        ({"etag": 'W/"a"'}, None),
        ({"etag": '"'}, None),
        ({"etag": "a"}, None),
        ({"etag": 'W/"a"', "last-modified": EARLY, "date": LATE}, EARLY),
        ({"last-modified": LATE, "date": LATE}, None),
        ({"last-modified": EARLY}, None),
        ({"last-modified": "yesterday", "date": LATE}, None),
        ({"last-modified": "Fri, 01 May 2026 11:59:59 -0000", "date": LATE}, "Fri, 01 May 2026 11:59:59 -0000"),
        ({}, None),
    ],
)
def test_what_names_a_file(headers: dict[str, str], validator: str | None) -> None:
    assert version_of(headers, 10).validator == validator


@pytest.mark.parametrize(
    ("status", "headers", "version", "meaning"),
    [
        (206, {"content-range": "bytes 5-9/10", "etag": '"a"'}, Version('"a"', '"a"', 10), Continuation.GOES_ON),
        (206, {"content-range": "bytes 5-9/*"}, Version('"a"', '"a"', 10), Continuation.GOES_ON),
        (206, {"content-range": "bytes 5-9/*"}, Version('"a"', '"a"', None), Continuation.GOES_ON),
        (206, {"content-range": "bytes 5-9/10", "etag": '"b"'}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (206, {"content-range": "bytes 4-9/10"}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (206, {"content-range": "bytes 5-8/10"}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (206, {"content-range": "bytes 5-10/11"}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (206, {"content-range": "lines 5-9/10"}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (206, {}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (200, {}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (416, {}, Version('"a"', '"a"', 10), Continuation.START_OVER),
        (503, {}, Version('"a"', '"a"', 10), Continuation.REFUSED),
    ],
)
def test_what_an_answer_in_the_middle_means(
    status: int, headers: dict[str, str], version: Version, meaning: Continuation
) -> None:
    assert continuation(status, headers, version, 5) is meaning


@pytest.mark.parametrize(
    ("status", "retry_after", "follows"),
    [
        (503, None, 2.0),
        (503, "30", 30.0),
        (429, "999999999999", 3600.0),
        (500, "Fri, 01 May 2026 12:01:00 GMT", 60.0),
        (500, "Fri, 01 May 2026 12:01:00 -0000", 60.0),
        (500, "Fri, 01 May 2026 11:00:00 GMT", 2.0),
        (502, "soon", 2.0),
        (408, "1", 2.0),
        (404, "30", None),
        (403, None, None),
        (204, None, None),
    ],
)
def test_what_follows_a_status(status: int, retry_after: str | None, follows: float | None) -> None:
    outcome = source_troubles.after_source_trouble(source_troubles.refused(status, "h", retry_after, NOW), 0)
    if follows is None:
        assert isinstance(outcome, Fail)
        assert (outcome.retryable, bool(outcome.reason.hint)) == (False, True)
    else:
        assert isinstance(outcome, Defer)
        assert outcome.seconds == pytest.approx(follows)


def test_waits_grow_to_a_quarter_of_an_hour() -> None:
    away = source_troubles.unreachable("h", "did not answer in time")
    outcomes = [source_troubles.after_source_trouble(away, deferrals) for deferrals in (0, 1, 2, 20)]
    assert [outcome.seconds for outcome in outcomes if isinstance(outcome, Defer)] == [2.0, 4.0, 8.0, 900.0]


def test_every_reason_has_a_sentence_and_a_hint() -> None:
    made = [
        source_troubles.SOURCE_UNKNOWN,
        source_troubles.not_allowed("Why."),
        source_troubles.unreachable("h", "did not answer in time"),
        source_troubles.untrusted("h"),
        source_troubles.too_many_redirects("h"),
        source_troubles.broken_off("h"),
        source_troubles.too_slow("h"),
        source_troubles.too_large(5),
        source_troubles.not_a_video("h", is_text=True),
        source_troubles.not_a_video("h", is_text=False),
        source_troubles.encoded("h"),
    ]
    for trouble in made:
        assert trouble.reason.code.startswith("source_")
        assert trouble.reason.message.endswith(".")
        assert trouble.reason.hint
