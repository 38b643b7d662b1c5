"""The pure rules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.domain.identity import email_key, parse_email, parse_username
from accounts.domain.profile import clean_text, search_text
from accounts.domain.return_url import is_allowed
from accounts.domain.throttle import Failures, ThrottleRule
from accounts.domain.token_life import LIFE_MAX, PAUSE, TokenLife, refresh_backoff, token_life

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def plan(life: float, *, refresh_life: float = 1e7, ahead: int = 600, spread: float = 0.0) -> TokenLife:
    return token_life(NOW, expires_in=life, refresh_expires_in=refresh_life, ahead=timedelta(seconds=ahead), spread=spread)


@pytest.mark.parametrize(
    ("life", "ahead", "left_when_due"),
    [(7200, 600, 600), (1200, 600, 300), (2400, 600, 600), (0, 600, 0), (-5, 600, 0), (7200, 0, 0)],
)
def test_a_token_is_due_ten_minutes_or_a_quarter_of_its_life_ahead(life: int, ahead: int, left_when_due: int) -> None:
    planned = plan(life, ahead=ahead)
    assert planned.expires_at - planned.refresh_due_at == timedelta(seconds=left_when_due)
    assert planned.expires_at == NOW + timedelta(seconds=max(life, 0))


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70), st.integers(0, 86_400), st.floats(0, 1))
def test_any_lifetime_gives_a_plan(life: int, refresh_life: int, ahead: int, spread: float) -> None:
    planned = plan(life, refresh_life=refresh_life, ahead=ahead, spread=spread)
    assert NOW <= planned.refresh_due_at <= planned.expires_at <= NOW + LIFE_MAX
    assert NOW + PAUSE <= planned.next_refresh_at <= max(planned.refresh_due_at, NOW + PAUSE)


@pytest.mark.parametrize(("life", "spread", "after"), [(7200, 0, 6600), (7200, 1, 5880), (60, 0, 45), (60, 1, 39), (1, 1, 1)])
def test_the_service_refreshes_before_anyone_has_to_wait(life: int, spread: float, after: int) -> None:
    assert plan(life, spread=spread).next_refresh_at - NOW == timedelta(seconds=after)


def test_a_refresh_token_that_ends_first_decides() -> None:
    planned = plan(7200, refresh_life=2400)
    assert planned.next_refresh_at == planned.refresh_due_at == NOW + timedelta(seconds=1800)
    assert (planned.expires_at, planned.refresh_expires_at) == (NOW + timedelta(seconds=7200), NOW + timedelta(seconds=2400))


def test_a_failed_refresh_is_tried_again_ever_later() -> None:
    assert [refresh_backoff(n, spread=0) for n in (0, 1, 2, 3, 7, 1000)] == [5, 5, 10, 20, 300, 300]
    assert (refresh_backoff(3, spread=1), refresh_backoff(1, spread=1, at_least=60)) == (10, 60)


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
    ("shown", "folded"),
    [
        ("\U0001d400\U0001d41d\U0001d41a \U0001d4db\U0001d4f8\U0001d4ff\U0001d4ee", "ada love"),
        ("\u0141ukasz \u00d8re", "lukasz ore"),
        ("\u00c6ther \u0110\u00ecnh", "aether dinh"),
        ("\u0131l\u0131k \u0130L\u0130K ILIK", "ilik ilik ilik"),
        ("\u01ff \u00c5se \u0152uvre \u00dej\u00f3\u00f0 \u1e9e\u00df", "o ase oeuvre thjod ssss"),
        ("\u1d00\u1d05\u1d00 \U0001f170\ufe0f\U0001f153\U0001f130 \u24b6a\u20dd", "ada ada aa"),
        ("so\u00adft a\u200db\u034f\u2764\ufe0f", "soft ab\u2764"),
        ("\u0301\u20dd\u200d\ufe0f\U000e0100", ""),
        ("\u0915\u093f\u0924\u093e\u092c", "\u0915\u093f\u0924\u093e\u092c"),
    ],
)
def test_search_finds_letters_however_they_are_dressed(shown: str, folded: str) -> None:
    assert search_text(shown) == folded


@given(st.text(max_size=30))
def test_what_is_folded_stays_as_it_is(text: str) -> None:
    folded = search_text(text)
    assert search_text(folded) == folded


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


@pytest.mark.parametrize(
    ("count", "seconds", "left", "faded"),
    [
        (5, 0, 5, 0),
        (5, 59, 5, 0),
        (5, 60, 4, 60),
        (5, 270, 1, 240),
        (5, 300, 0, 300),
        (0, 10, 0, 10),
        (5, -5, 5, 0),
        (100, 900, 85, 900),
        (100, 901, 0, 901),
    ],
)
def test_one_failure_fades_each_minute_and_all_in_fifteen(count: int, seconds: int, left: int, faded: int) -> None:
    after = Failures(count, NOW).at(NOW + timedelta(seconds=seconds))
    assert after == Failures(left, NOW + timedelta(seconds=faded))
