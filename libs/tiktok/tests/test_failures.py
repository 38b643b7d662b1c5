import pytest

from tiktok.failures import FAILURES, FailureKind, failure_of

POSTING = [
    "invalid_param",
    "invalid_params",
    "app_version_check_failed",
    "invalid_publish_id",
    "token_not_authorized_for_specified_publish_id",
    "publish_not_cancellable",
    "spam_risk_too_many_posts",
    "spam_risk_user_banned_from_posting",
    "reached_active_user_cap",
    "spam_risk_too_many_pending_share",
    "unaudited_client_can_only_post_to_private_accounts",
    "url_ownership_unverified",
    "privacy_level_option_mismatch",
    "access_token_invalid",
    "scope_not_authorized",
    "rate_limit_exceeded",
    "internal_error",
]
DISPLAY = ["scope_permission_missed", "invalid_file_upload"]
FAIL_REASONS = [
    "file_format_check_failed",
    "duration_check_failed",
    "frame_rate_check_failed",
    "picture_size_check_failed",
    "internal",
    "video_pull_failed",
    "photo_pull_failed",
    "publish_cancelled",
    "auth_removed",
    "spam_risk_too_many_posts",
    "spam_risk_user_banned_from_posting",
    "spam_risk_text",
    "spam_risk",
]
OAUTH = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "server_error",
    "temporarily_unavailable",
]


@pytest.mark.parametrize("code", sorted({*POSTING, *DISPLAY, *FAIL_REASONS, *OAUTH}))
def test_every_documented_code_is_explained(code: str) -> None:
    failure = FAILURES[code]
    assert failure.message.endswith(".")
    assert failure.hint.endswith(".")
    assert (failure.wait_seconds is not None) == (failure.kind is FailureKind.DEFERRED)


def test_kinds_that_decide_about_a_second_attempt() -> None:
    kinds = {code: FAILURES[code].kind for code in FAILURES}
    assert {code for code, kind in kinds.items() if kind is FailureKind.DEFERRED} == {
        "spam_risk_too_many_posts",
        "reached_active_user_cap",
        "spam_risk_too_many_pending_share",
        "access_token_invalid",
        "rate_limit_exceeded",
    }
    assert {code for code, kind in kinds.items() if kind is FailureKind.RETRYABLE} == {
        "internal_error",
        "internal",
        "video_pull_failed",
        "photo_pull_failed",
        "server_error",
        "temporarily_unavailable",
        "unreachable",
        "no_answer",
        "malformed_answer",
    }


def test_unknown_codes_are_judged_by_status_and_never_by_substring() -> None:
    assert failure_of("internal_surprise", 400).kind is FailureKind.FINAL
    assert failure_of("brand_new", 503).kind is FailureKind.RETRYABLE
    assert failure_of("brand_new", 429).kind is FailureKind.DEFERRED
    assert failure_of("brand_new").kind is FailureKind.FINAL
    assert failure_of("brand_new", 503).code == "brand_new"


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FAILURES["x"] = FAILURES["internal"]  # type: ignore[index]
