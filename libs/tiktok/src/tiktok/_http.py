"""Sending a request and reading TikTok's answer: transport failures and the two JSON error shapes."""

import asyncio
import json
from collections.abc import AsyncIterable, Mapping
from decimal import Decimal
from typing import Any, Final

import httpx
from pydantic import SecretStr

from tiktok.errors import TikTokRefused, TikTokUnavailable, TokenInvalid, refusal

Json = dict[str, Any]

JSON_TIMEOUT: Final = httpx.Timeout(15.0, connect=5.0, pool=5.0)
"""Per phase of a call that carries little data."""

CALL_SECONDS: Final = 30.0
"""Longest time for such a call as a whole, a dripping answer included."""

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Far above any answer TikTok documents."""

_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL)
_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_AIOHTTP_NOTHING_SENT = frozenset({"ClientConnectorError", "ConnectionTimeoutError"})


async def send(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    seconds: float = CALL_SECONDS,
    phases: httpx.Timeout = JSON_TIMEOUT,
    token: SecretStr | None = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    body: Json | None = None,
    content: AsyncIterable[bytes] | None = None,
) -> httpx.Response:
    """Send one request without following redirects and return the answer, whatever its status.

    ``phases`` limits connecting, writing and reading one by one, ``seconds`` the call as a whole.

    Raises TikTokUnavailable when there is no answer, or one of more than 4 MB; its ``sent`` is false only if no connection
    came about.
    """
    all_headers = dict(headers or {})
    if token is not None:
        all_headers["Authorization"] = f"Bearer {token.get_secret_value()}"
    payload: bytes | AsyncIterable[bytes] | None = content
    if body is not None:
        all_headers["Content-Type"] = "application/json; charset=UTF-8"
        payload = json.dumps(body).encode()
    try:
        request = http.build_request(
            method, url, headers=all_headers, params=params, data=form, content=payload, timeout=phases
        )
        async with asyncio.timeout(seconds):
            return await _whole(await http.send(request, auth=None, follow_redirects=False, stream=True))
    except Exception as error:
        if not _is_transport_failure(error):
            raise
        sent = may_have_been_sent(error)
        raise TikTokUnavailable("no_answer" if sent else "unreachable", sent=sent) from error


async def _whole(streamed: httpx.Response) -> httpx.Response:
    """Return the answer with its body read and decoded; raises TikTokUnavailable beyond the limit."""
    body = bytearray()
    try:
        async for part in streamed.aiter_bytes():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise malformed(streamed, "an end")
    finally:
        await streamed.aclose()
    plain = [(name, value) for name, value in streamed.headers.multi_items() if name not in _OF_THE_BODY]
    return httpx.Response(streamed.status_code, headers=plain, content=bytes(body), request=streamed.request)


def _is_transport_failure(error: Exception) -> bool:
    """Return whether the transport failed. The aiohttp transport lets some of aiohttp's own errors through."""
    return isinstance(error, httpx.HTTPError | httpx.InvalidURL | OSError) or type(error).__module__.startswith("aiohttp")


def may_have_been_sent(error: BaseException) -> bool:
    """Return whether a request that ended in ``error`` may have reached TikTok.

    The aiohttp transport reports a connection that broke in use as a connect timeout, so there the cause decides.
    """
    if not isinstance(error, _NOTHING_SENT):
        return True
    cause = error.__cause__
    if cause is None or not type(cause).__module__.startswith("aiohttp"):
        return False
    return _AIOHTTP_NOTHING_SENT.isdisjoint(base.__name__ for base in type(cause).__mro__)


def parse_object(response: httpx.Response) -> Json | None:
    """Return the answer's JSON object, or None when the body is not one. Integers of any length stay exact."""
    try:
        parsed = json.loads(response.content, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def data_of(response: httpx.Response) -> Json:
    """Return ``data`` of an API envelope whose ``error.code`` is ``ok`` (an absent or null ``data`` is empty).

    Raises the exception that belongs to the code, also for a refusal inside HTTP 200 or in the flat shape; TokenInvalid for
    a 401 that does not say otherwise; TikTokUnavailable with ``sent=True`` when the answer cannot be read.
    """
    try:
        return _enveloped(response)
    except TikTokRefused as error:
        if error.http_status != 401 or error.failure.known:
            raise
        own = "" if error.message == error.failure.message else error.message
        raise TokenInvalid("access_token_invalid", told=False, http_status=401, log_id=error.log_id, message=own) from None


def _enveloped(response: httpx.Response) -> Json:
    answer = parse_object(response)
    code, message = _told(answer or {})
    if answer is not None and code == "ok" and response.status_code < 300:
        data = answer.get("data")
        return data if isinstance(data, dict) else {}
    if code is None:
        raise _unreadable(response, answer)
    raise refusal(
        code if code != "ok" else f"http_{response.status_code}",
        http_status=response.status_code,
        log_id=log_id_of(response),
        message=message,
        headers=response.headers,
    )


def _told(answer: Json) -> tuple[str | None, str]:
    """Return code and message of an answer, whichever of the two shapes its error has; no code when it has neither."""
    error = answer.get("error")
    if isinstance(error, dict):
        return text(error.get("code")), text(error.get("message")) or ""
    # Without an envelope "ok" says nothing of what was done.
    return (None if error == "ok" else text(error)), text(answer.get("error_description")) or ""


def log_id_of(response: httpx.Response) -> str | None:
    """Return TikTok's log id of an answer, which their support asks for; None when it has none."""
    answer = parse_object(response) or {}
    error = answer.get("error")
    holder = error if isinstance(error, dict) else answer
    return text(holder.get("log_id") or holder.get("logid"))


def flat_answer_of(response: httpx.Response) -> Json:
    """Return an OAuth answer's object. After any status, a string ``error`` means that it failed.

    Raises the exception that belongs to the code; TikTokUnavailable with ``sent=True`` when it cannot be read.
    """
    answer = parse_object(response)
    if answer is None and response.status_code < 300 and not response.content.strip():
        return {}
    if answer is None:
        raise _unreadable(response, None)
    code = answer.get("error")
    if isinstance(code, dict):
        # The other shape, from an endpoint that should answer flat.
        return _from_envelope(response, answer)
    if response.status_code < 300 and code in {None, "", "ok"}:
        return answer
    if not isinstance(code, str) or code in {"", "ok"}:
        raise _unreadable(response, answer)
    raise refusal(
        code,
        http_status=response.status_code,
        log_id=text(answer.get("log_id") or answer.get("logid")),
        message=text(answer.get("error_description")) or "",
        headers=response.headers,
    )


def _from_envelope(response: httpx.Response, answer: Json) -> Json:
    _enveloped(response)
    return answer


def malformed(response: httpx.Response, what: str) -> TikTokUnavailable:
    """Return the exception for an accepted request whose answer lacks something; it may have had its effect."""
    return TikTokUnavailable(
        "malformed_answer", sent=True, http_status=response.status_code, message=f"TikTok's answer lacks {what}."
    )


def text(value: object) -> str | None:
    """Return the value when it is a non-empty string."""
    return value if isinstance(value, str) and value else None


def _unreadable(response: httpx.Response, answer: Json | None) -> Exception:
    status = response.status_code
    if status < 400:
        return malformed(response, "an error code" if answer is not None else "JSON")
    return refusal(f"http_{status}", http_status=status, log_id=None, message="", headers=response.headers)
