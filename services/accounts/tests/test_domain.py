"""The pure rules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.domain.identity import email_key, parse_email, parse_username
from accounts.domain.profile import clean_text, search_text
from accounts.domain.return_url import is_allowed
from accounts.domain.throttle import ThrottleRule
from accounts.domain.token_life import LIFE_MAX, token_life

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("life", "ahead", "left_when_due"),
    [(7200, 600, 600), (1200, 600, 300), (2400, 600, 600), (0, 600, 0), (-5, 600, 0), (7200, 0, 0)],
)
def test_a_token_is_due_ten_minutes_or_a_quarter_of_its_life_ahead(life: int, ahead: int, left_when_due: int) -> None:
    planned = token_life(NOW, life, timedelta(seconds=ahead))
    assert planned.expires_at - planned.refresh_due_at == timedelta(seconds=left_when_due)
    assert planned.expires_at == NOW + timedelta(seconds=max(life, 0))


@given(st.integers(-(2**70), 2**70), st.integers(0, 86_400))
def test_any_lifetime_gives_a_plan(life: int, ahead: int) -> None:
    planned = token_life(NOW, life, timedelta(seconds=ahead))
    assert NOW <= planned.refresh_due_at <= planned.expires_at <= NOW + LIFE_MAX


@given(st.text())
def test_any_text_has_an_email_key_that_is_stable(text: str) -> None:
    assert email_key(email_key(text)) == email_key(email_key(email_key(text)))


@pytest.mark.parametrize("text", ["Ada@Example.com", "ADA@EXAMPLE.COM", " ada@example.com ", "ada\uff20example.com"])
def test_spellings_of_one_address_have_one_key(text: str) -> None:
    assert parse_email(text).key == email_key(text) == "ada@example.com"


def test_a_domain_in_punycode_is_the_same_one() -> None:
    assert parse_email("x@xn--mnchen-3ya.de").key == parse_email("x@M\u00fcnchen.de").key == email_key("x@xn--mnchen-3ya.de")


@given(st.text(max_size=80))
def test_a_username_that_passes_passes_again(text: str) -> None:
    try:
        name = parse_username(text)
    except ValueError:
        return
    assert parse_username(name) == name


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=50))
def test_text_from_outside_can_be_stored(text: str) -> None:
    cleaned = clean_text(text, 10)
    assert cleaned is None or ("\x00" not in cleaned and cleaned.encode() and len(cleaned) <= 10)


def test_search_finds_without_accents() -> None:
    assert search_text("José", None, "ÀÉ") == "jose ae"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://app.example.com/done", True),
        ("https://app.example.com/done/deeper?x=1#y", True),
        ("https://APP.example.com:443/done", True),
        ("https://app.example.com/donelike", False),
        ("https://app.example.com/", False),
        ("http://app.example.com/done", False),
        ("https://app.example.com:8443/done", False),
        ("https://app.example.com.evil.io/done", False),
        ("https://app.example.com@evil.io/done", False),
        ("https://user@app.example.com/done", False),
        ("https://app.example.com/done/../admin", False),
        ("https://app.example.com/done/%2E./admin", False),
        ("https://app.example.com/done\\@evil.io", False),
        ("https://app.example.com/done\r\nX: y", False),
        ("//app.example.com/done", False),
        ("javascript:alert(1)", False),
        ("https://[::1", False),
        ("https://app.example.com:x/done", False),
        ("http://localhost:3000", True),
        ("http://localhost:3000/any", True),
    ],
)
def test_browsers_go_only_where_the_operator_allows(url: str, allowed: bool) -> None:
    assert is_allowed(url, ["https://app.example.com/done", "http://localhost:3000/", "nonsense"]) is allowed


def test_waits_double_up_to_a_minute() -> None:
    rule = ThrottleRule(free=2)
    assert [rule.wait_after(n).total_seconds() for n in (0, 2, 3, 4, 5, 9, 10_000)] == [0, 0, 1, 2, 4, 60, 60]
