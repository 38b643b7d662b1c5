"""The table of failures holds every code of TikTok's documents, and nothing that is in none."""

import re
from pathlib import Path

import pytest

from tiktok.errors import (
    GrantInvalid,
    ScopeMissing,
    TikTokRateLimited,
    TikTokRefused,
    TikTokUnavailable,
    TokenInvalid,
    refusal,
    retry_after_of,
)
from tiktok.failures import FAILURES, Failure, FailureKind, failure_of

REFERENCE = (Path(__file__).parent / "reference" / "error_codes.md").read_text()
OURS = {"unreachable", "no_answer", "malformed_answer"}
AWAIT_A_PERSON = {
    "access_token_invalid", "scope_not_authorized", "scope_permission_missed", "auth_removed",
    "spam_risk_user_banned_from_posting", "unaudited_client_can_only_post_to_private_accounts",
}  # fmt: skip


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(title)}.*?(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(title: str) -> list[tuple[list[str], list[str]]]:
    """Return the codes of a table's first cells with the other cells of their row."""
    lines = re.findall(r"^\|.*\|$", section(title), re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(re.findall(r"`(\w+)`", first), rest) for first, *rest in cells[2:]]


POSTING = {code: rest for codes, rest in rows("Content Posting codes") for code in codes if code != "ok"}
FAIL_REASONS = {code: rest[0] for codes, rest in rows("fail_reason") for code in codes}
OAUTH = [code for codes, _ in rows("OAuth errors") for code in codes]
DISPLAY = dict(re.findall(r"`(\w+)` (\d{3})", section("Display API codes")))
DOCUMENTED = {*POSTING, *FAIL_REASONS, *OAUTH, *DISPLAY}


def test_the_documents_are_read_as_they_are_meant() -> None:
    assert (len(POSTING), len(FAIL_REASONS), len(OAUTH), len(DISPLAY)) == (17, 13, 10, 7)


def test_every_documented_code_has_a_row_and_no_other() -> None:
    assert set(FAILURES) == DOCUMENTED | OURS


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_every_row_explains(code: str) -> None:
    failure = FAILURES[code]
    assert failure.message.endswith(".")
    assert failure.hint.endswith(".")
    assert failure.known
    if failure.wait_seconds is not None:
        assert failure.kind is FailureKind.DEFERRED


def test_what_concerns_the_account_waits_for_a_person() -> None:
    assert {code for code, failure in FAILURES.items() if failure.awaits_person} == AWAIT_A_PERSON


@pytest.mark.parametrize(("reason", "retry"), sorted(FAIL_REASONS.items()))
def test_reasons_of_failure_are_retried_as_documented(reason: str, retry: str) -> None:
    kind = FAILURES[reason].kind
    if reason in AWAIT_A_PERSON:
        # Not retried either: the next attempt waits until the account may post again.
        assert retry == "no"
    elif retry.startswith("yes"):
        assert kind is FailureKind.RETRYABLE
    elif retry == "not today":
        assert kind is FailureKind.DEFERRED
    else:
        assert kind is FailureKind.FINAL


ANSWERS = [(code, int(status)) for code, rest in POSTING.items() for status in re.findall(r"\b[2-5]\d\d\b", rest[0])]
ANSWERS += [("internal_error", status) for status in (500, 502, 503, 504)]
ANSWERS += [(code, int(status)) for code, status in DISPLAY.items()]


@pytest.mark.parametrize(("code", "status"), sorted(set(ANSWERS)))
def test_answers_become_what_to_do_next(code: str, status: int) -> None:
    error = refusal(code, http_status=status, log_id="L1", message="", headers={})
    expected: type[Exception] = TikTokRefused
    if status >= 500:
        expected = TikTokUnavailable
    elif code in {"scope_not_authorized", "scope_permission_missed"}:
        expected = ScopeMissing
    elif code == "access_token_invalid":
        expected = TokenInvalid
    elif status == 429:
        expected = TikTokRateLimited
    assert type(error) is expected
    assert (error.log_id, error.message) == ("L1", FAILURES[code].message)
    if status == 400 and code not in AWAIT_A_PERSON:
        assert error.kind is FailureKind.FINAL


@pytest.mark.parametrize("status", [408, 425])
def test_a_request_that_came_too_slowly_or_too_early_has_no_verdict(status: int) -> None:
    error = refusal(f"http_{status}", http_status=status, log_id=None, message="", headers={"retry-after": "7"})
    assert isinstance(error, TikTokUnavailable)
    assert (error.sent, error.retryable, error.retry_after) == (True, True, 7.0)


@pytest.mark.parametrize("code", OAUTH)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_oauth_errors_mean_the_same_with_any_status(code: str, status: int) -> None:
    error = refusal(code, http_status=status, log_id=None, message="", headers={})
    if code in {"server_error", "temporarily_unavailable"}:
        assert type(error) is TikTokUnavailable
    else:
        assert type(error) is (GrantInvalid if code == "invalid_grant" else TikTokRefused)
        assert error.kind is FailureKind.FINAL


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.FINAL),
        (403, FailureKind.FINAL),
        (408, FailureKind.RETRYABLE),
        (425, FailureKind.RETRYABLE),
        (429, FailureKind.DEFERRED),
        (500, FailureKind.RETRYABLE),
        (503, FailureKind.RETRYABLE),
        (200, FailureKind.RETRYABLE),
        (None, FailureKind.RETRYABLE),
    ],
)
def test_unknown_codes_are_final_only_when_the_http_class_says_so(status: int | None, kind: FailureKind) -> None:
    failure = failure_of("internal_surprise", status)
    assert (failure.code, failure.kind, failure.known) == ("internal_surprise", kind, False)
    assert failure.message
    assert failure.hint


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FAILURES["x"] = FAILURES["internal"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999", 86_400.0),
        ("-1", None),
        ("soon", None),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2001 00:00:00", None),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400.0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(header: str, seconds: float | None) -> None:
    assert retry_after_of({"retry-after": header}) == seconds
    away = refusal("internal_error", http_status=503, log_id=None, message="", headers={"retry-after": header})
    assert isinstance(away, TikTokUnavailable)
    assert away.retry_after == seconds


def test_the_guide_shows_the_table_as_it_is() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "failures.md").read_text()
    shown = {
        code: rest for code, *rest in re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", guide, re.MULTILINE)
    }
    assert set(shown) == set(FAILURES)
    for code, (follows, message, hint) in shown.items():
        failure = FAILURES[code]
        assert (message, hint) == (failure.message, failure.hint)
        assert follows == _follows(failure)


def _follows(failure: Failure) -> str:
    if failure.awaits_person:
        return "waits for a person"
    if failure.wait_seconds is not None:
        return f"waits {failure.wait_seconds // 60} min"
    return "tried again" if failure.kind is FailureKind.RETRYABLE else "final"
