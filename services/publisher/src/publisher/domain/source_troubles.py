"""What goes wrong with fetching a file, and what that means for the job: nothing is published yet, so it waits or it has failed.

No sentence holds more of the address than its host: the rest may be a signature.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from publisher.domain.outcomes import Defer, Fail, Reason
from publisher.domain.troubles import Trouble, TroubleKind

WAIT_FIRST_SECONDS = 2.0
WAIT_MAX_SECONDS = 900.0
"""Longer than other waits: each try may move the whole file."""
RETRY_AFTER_MAX_SECONDS = 3600.0

_PASSES = frozenset({408, 423, 425, 429})
_GONE = frozenset({404, 410})
_FORBIDDEN = frozenset({401, 402, 403, 407, 451})
_AGAIN = "It is tried again until the post's deadline; the address should answer by then."
_UPLOAD_INSTEAD = "Upload the file to Cuepost and give its media_id, or create the post again with another address."

SOURCE_UNKNOWN = Trouble(
    TroubleKind.FINAL, Reason("source_unknown", "The post's addresses are not known any more.", "Create the post again.")
)


def after_source_trouble(trouble: Trouble, deferrals: int) -> Defer | Fail:
    """Return what follows trouble with fetching: the end of the attempt, or a wait that costs none and grows."""
    if trouble.kind is TroubleKind.FINAL:
        return Fail(trouble.reason, retryable=False)
    grown = min(WAIT_FIRST_SECONDS * 2 ** min(deferrals, 10), WAIT_MAX_SECONDS)
    return Defer(max(trouble.wait or 0.0, grown), trouble.reason)


def not_allowed(why: str) -> Trouble:
    """Return that this address is never fetched."""
    hint = "Give an https address of a public host, or upload the file."
    return Trouble(TroubleKind.FINAL, Reason("source_url_not_allowed", why, hint))


def refused(status: int, host: str, retry_after: str | None, now: datetime) -> Trouble:
    """Return what an HTTP status other than success means; `retry_after` is that header."""
    if status in _GONE:
        hint = "Put the file back, or create the post again with another address."
        return _final("source_not_found", f"There is no file at the video's address: {host} answered {status}.", hint)
    if status in _FORBIDDEN:
        hint = "It must be reachable without a login when the post is due; a signed address may have expired."
        return _final("source_forbidden", f"{host} does not give out the video: it answered {status}.", hint)
    if status >= 500 or status in _PASSES:
        reason = Reason("source_unavailable", f"{host}, where the video is, answered {status}.", _AGAIN)
        return Trouble(TroubleKind.BUSY, reason, _seconds_of(retry_after, now))
    return _final("source_refused", f"{host} does not give out the video: it answered {status}.", _UPLOAD_INSTEAD)


def unreachable(host: str, why: str) -> Trouble:
    """Return that no answer came; `why` is a short phrase."""
    return Trouble(TroubleKind.NOT_SENT, Reason("source_unreachable", f"{host}, where the video is, {why}.", _AGAIN))


def untrusted(host: str) -> Trouble:
    """Return that the server could not prove who it is."""
    return _final("source_untrusted", f"The certificate of {host} is not valid.", _UPLOAD_INSTEAD)


def too_many_redirects(host: str) -> Trouble:
    """Return that the address leads on and on."""
    return _final("source_redirects", f"The video's address at {host} leads from one redirect to the next.", _UPLOAD_INSTEAD)


def broken_off(host: str) -> Trouble:
    """Return that the connection broke too often, or that the file changed while it was fetched."""
    why = f"{host} broke off again and again before the whole video had come, or changed it meanwhile."
    return Trouble(TroubleKind.NOT_SENT, Reason("source_broken_off", why, _AGAIN))


def too_slow(host: str) -> Trouble:
    """Return that the file comes too slowly to be fetched."""
    return Trouble(TroubleKind.NOT_SENT, Reason("source_too_slow", f"{host} sends the video too slowly.", _AGAIN))


def too_large(limit: int) -> Trouble:
    """Return that the file has more than `limit` bytes."""
    hint = f"Files of up to {limit} bytes are fetched. Give the address of a smaller file."
    return _final("source_too_large", f"The file at the video's address is larger than {limit} bytes.", hint)


def not_a_video(host: str, *, is_text: bool) -> Trouble:
    """Return that what came is no video that TikTok takes; `is_text`: a web page or the like."""
    if is_text:
        hint = "Give the address of the file itself, one that downloads it without a page in between."
        return _final("source_not_a_video", f"{host} answered with a web page or a text, not with a video.", hint)
    hint = "TikTok takes MP4, MOV and WebM."
    return _final("source_not_a_video", f"The file at {host} is no MP4, MOV or WebM video.", hint)


def encoded(host: str) -> Trouble:
    """Return that the bytes come compressed although they were asked for as they are."""
    return _final("source_not_a_video", f"{host} gives out the file in compressed form only.", _UPLOAD_INSTEAD)


def _final(code: str, message: str, hint: str) -> Trouble:
    return Trouble(TroubleKind.FINAL, Reason(code, message, hint))


def _seconds_of(retry_after: str | None, now: datetime) -> float | None:
    """Return the wait a server asks for, as a number of seconds or as a date; at most an hour."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_MAX_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max((aware - now).total_seconds(), 0.0), RETRY_AFTER_MAX_SECONDS)
