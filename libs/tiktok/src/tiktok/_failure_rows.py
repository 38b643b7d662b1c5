"""The rows of the failure table: code, kind, sentence for a creator, hint, and for deferred ones a wait in seconds.

A deferred one without a wait passes only when a person acts.
"""

from typing import Final

Row = tuple[str, str, str, str, int | None]

_POSTING: Final[tuple[Row, ...]] = (
    (
        "invalid_param",
        "final",
        "TikTok did not accept the details of this post.",
        "Check caption, options and media against TikTok's rules; TikTok's own message names the field.",
        None,
    ),
    (
        "invalid_params",
        "final",
        "TikTok did not accept the details of this post.",
        "Check caption, options and media against TikTok's rules; TikTok's own message names the field.",
        None,
    ),
    (
        "app_version_check_failed",
        "final",
        "The TikTok app on the creator's phone is too old to receive this draft.",
        "Update the TikTok app to version 31.8 or newer.",
        None,
    ),
    (
        "invalid_publish_id",
        "final",
        "TikTok does not know this publication.",
        "Look into the TikTok profile to see whether the post is there.",
        None,
    ),
    (
        "token_not_authorized_for_specified_publish_id",
        "final",
        "This publication belongs to another TikTok account.",
        "Connect the account that started the publication.",
        None,
    ),
    (
        "publish_not_cancellable",
        "final",
        "This publication can no longer be cancelled.",
        "Wait for its outcome and delete the post in the TikTok app if it is unwanted.",
        None,
    ),
    (
        "spam_risk_too_many_posts",
        "deferred",
        "This account has reached the number of posts TikTok accepts per day from apps.",
        "Wait until the 24 hours have passed, or post from the TikTok app.",
        3600,
    ),
    (
        "spam_risk_user_banned_from_posting",
        "deferred",
        "TikTok has banned this account from posting.",
        "Open the TikTok app with this account to see the reason and how to appeal.",
        None,
    ),
    (
        "reached_active_user_cap",
        "deferred",
        "This app has reached the number of creators TikTok lets it serve per day.",
        "Nothing to do for the creator; the operator can ask TikTok for a higher cap. It frees up within 24 hours.",
        3600,
    ),
    (
        "spam_risk_too_many_pending_share",
        "deferred",
        "Too many drafts wait in this creator's TikTok inbox.",
        "Publish or discard the waiting drafts in the TikTok app.",
        3600,
    ),
    (
        "unaudited_client_can_only_post_to_private_accounts",
        "deferred",
        "Until TikTok has audited this app, it can only post to private accounts.",
        "Set the TikTok account to private and the post to SELF_ONLY, or complete TikTok's audit.",
        None,
    ),
    (
        "url_ownership_unverified",
        "final",
        "TikTok does not fetch media from this address.",
        "Verify the domain or URL prefix in TikTok's developer portal, or upload the file instead.",
        None,
    ),
    (
        "privacy_level_option_mismatch",
        "final",
        "The chosen privacy level is not available to this creator.",
        "Choose one of the levels that creator info offers now.",
        None,
    ),
)

_GRANT: Final[tuple[Row, ...]] = (
    (
        "access_token_invalid",
        "deferred",
        "TikTok no longer accepts the access of this account.",
        "Refresh the access token; when that fails, connect the account again.",
        None,
    ),
    (
        "scope_not_authorized",
        "deferred",
        "The creator has not granted the permission this needs.",
        "Connect the account again and leave every permission ticked.",
        None,
    ),
    (
        "scope_permission_missed",
        "deferred",
        "This app lacks a permission at TikTok.",
        "The operator has to add the scope in TikTok's developer portal.",
        None,
    ),
    (
        "rate_limit_exceeded",
        "deferred",
        "TikTok asks to slow down.",
        "Nothing to do; the request is repeated once the minute has passed.",
        60,
    ),
    ("invalid_file_upload", "final", "TikTok did not accept the file.", "Check the file's format and size.", None),
    ("internal_error", "retryable", "TikTok had a fault of its own.", "Nothing to do; it is tried again.", None),
)

_FAIL_REASONS: Final[tuple[Row, ...]] = (
    (
        "file_format_check_failed",
        "final",
        "TikTok cannot read this file.",
        "Use MP4, WebM or MOV with H.264, H.265, VP8 or VP9.",
        None,
    ),
    (
        "duration_check_failed",
        "final",
        "The video is longer than TikTok allows for this creator.",
        "Shorten the video to the creator's maximum duration, shown by creator info.",
        None,
    ),
    (
        "frame_rate_check_failed",
        "final",
        "TikTok does not accept the video's frame rate.",
        "Use 23 to 60 frames per second.",
        None,
    ),
    (
        "picture_size_check_failed",
        "final",
        "TikTok does not accept the picture size.",
        "Each side of a video has to be 360 to 4096 pixels; photos at most 1080p.",
        None,
    ),
    ("internal", "retryable", "TikTok had a fault of its own.", "Nothing to do; it is tried again.", None),
    (
        "video_pull_failed",
        "retryable",
        "TikTok could not fetch the video.",
        "Check that the address stays reachable over https without redirects for an hour.",
        None,
    ),
    (
        "photo_pull_failed",
        "retryable",
        "TikTok could not fetch the photos.",
        "Check that the addresses stay reachable over https without redirects for an hour.",
        None,
    ),
    ("publish_cancelled", "final", "The publication was cancelled.", "Schedule it again if it is wanted.", None),
    (
        "auth_removed",
        "deferred",
        "The creator removed the app's access while the post was being processed.",
        "Connect the account again, then retry the post.",
        None,
    ),
    ("spam_risk_text", "final", "TikTok sees a risk in the caption.", "Change the caption before trying again.", None),
    (
        "spam_risk",
        "final",
        "TikTok sees this post as spam.",
        "Post from the TikTok app, and read TikTok's community guidelines.",
        None,
    ),
)

_OAUTH: Final[tuple[Row, ...]] = (
    ("access_denied", "final", "The creator declined to connect.", "Start the connection again.", None),
    (
        "invalid_client",
        "final",
        "TikTok does not know this app.",
        "The operator has to check TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET.",
        None,
    ),
    ("invalid_grant", "final", "TikTok's permission for this account has ended.", "Connect the account again.", None),
    (
        "invalid_request",
        "final",
        "TikTok did not accept the sign-in request.",
        "Check that the redirect URI equals the registered one to the letter, and the PKCE values.",
        None,
    ),
    (
        "invalid_scope",
        "final",
        "TikTok does not offer one of the permissions asked for.",
        "The operator has to check the app's scopes in TikTok's developer portal.",
        None,
    ),
    (
        "unauthorized_client",
        "final",
        "TikTok does not allow this app to do that.",
        "The operator has to check the app in TikTok's developer portal.",
        None,
    ),
    (
        "unsupported_grant_type",
        "final",
        "TikTok did not accept the sign-in request.",
        "This is a fault of the program; report it.",
        None,
    ),
    (
        "unsupported_response_type",
        "final",
        "TikTok did not accept the sign-in request.",
        "This is a fault of the program; report it.",
        None,
    ),
    ("server_error", "retryable", "TikTok had a fault of its own.", "Nothing to do; it is tried again.", None),
    (
        "temporarily_unavailable",
        "retryable",
        "TikTok's sign-in is not available right now.",
        "Nothing to do; it is tried again.",
        None,
    ),
)

_OURS: Final[tuple[Row, ...]] = (
    (
        "unreachable",
        "retryable",
        "TikTok cannot be reached right now.",
        "Nothing to do; it is tried again. The operator may check the network.",
        None,
    ),
    (
        "no_answer",
        "retryable",
        "TikTok did not answer.",
        "Nothing to do; what became of the request is looked up before it is repeated.",
        None,
    ),
    (
        "malformed_answer",
        "retryable",
        "TikTok answered something unreadable.",
        "Nothing to do; what became of the request is looked up before it is repeated.",
        None,
    ),
)

ROWS: Final[tuple[Row, ...]] = _POSTING + _GRANT + _FAIL_REASONS + _OAUTH + _OURS
