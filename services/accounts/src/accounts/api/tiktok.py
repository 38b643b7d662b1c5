"""Connecting a TikTok account by OAuth."""

from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, SecretStr

from accounts.api.connect_cookie import bind, forget, new_state, require_same_browser
from accounts.api.identity import WiredParts, live_user_with
from accounts.api.never_stored import never_stored
from accounts.clients.tiktok_problems import denied
from accounts.connecting import check_scopes, connect
from accounts.domain.account import Account
from accounts.domain.return_url import RETURN_URL_MAX, is_allowed
from accounts.domain.scopes import unusable_modes
from accounts.parts import Parts
from accounts.storing import until_stored
from accounts.usecases.fail_connecting import fail_connecting
from accounts.usecases.finish_connecting import Connecting, finish_connecting, invalid_state
from accounts.usecases.start_connecting import start_connecting
from common.auth.claims import UserClaims
from common.database.failures import is_database_away, is_database_busy
from common.errors import FieldError, Problem
from common.http.identity import caller, request_context
from common.http.json_response import PROBLEM_TYPE, json_response
from common.http.request_id import request_id_of
from tiktok.oauth import authorize_url, pkce_pair, split_scopes

router = APIRouter(prefix="/internal/tiktok", tags=["tiktok"])
CODE_MAX = 2048
TELL_SECONDS = 1.0

log = structlog.get_logger(__name__)

MayConnect = Annotated[UserClaims, Depends(live_user_with("accounts:write"))]
Text = Annotated[str | None, Query(max_length=CODE_MAX)]


class AuthUrlAnswer(BaseModel):
    """Where the creator's browser has to go."""

    auth_url: str
    state: str


class Callback(BaseModel):
    """What TikTok's redirect carries."""

    state: SecretStr | None = None
    code: SecretStr | None = None
    scopes: str | None = None
    error: str | None = None
    error_type: str | None = None


@router.get("/auth/url", dependencies=[Depends(never_stored)])
async def auth_url(
    parts: WiredParts,
    claims: MayConnect,
    response: Response,
    return_url: Annotated[str | None, Query(max_length=RETURN_URL_MAX)] = None,
    browser: bool = False,
) -> AuthUrlAnswer:
    """Start connecting: the address is good once, for ten minutes, for this user. 422 `return_url_not_allowed`.

    With `browser`, or where OAUTH_REQUIRE_BROWSER is set, it is good only in the browser that gets this answer's cookie.
    """
    settings = parts.settings
    browser = browser or settings.oauth_require_browser
    if return_url is not None and not is_allowed(return_url, settings.allowed_return_urls):
        raise _return_url_not_allowed()
    state, pkce = new_state(browser=browser), pkce_pair()
    async with parts.database.transaction() as tx:
        await start_connecting(
            tx,
            parts.vault,
            user_id=claims.user_id,
            state=state,
            code_verifier=pkce.verifier,
            return_url=return_url,
            life=timedelta(seconds=settings.oauth_state_ttl_seconds),
        )
    url = authorize_url(
        settings.tiktok_authorize_url,
        client_key=settings.tiktok_client_key,
        redirect_uri=settings.tiktok_redirect_uri,
        scopes=settings.asked_scopes,
        state=state.get_secret_value(),
        code_challenge=pkce.challenge,
        disable_auto_auth=True,
    )
    if browser:
        life = settings.oauth_state_ttl_seconds
        bind(response, state, redirect_uri=settings.tiktok_redirect_uri, life_seconds=life)
    return AuthUrlAnswer(auth_url=url, state=state.get_secret_value())


def callback_of(
    state: Text = None, code: Text = None, scopes: Text = None, error: Text = None, error_type: Text = None
) -> Callback:
    """Collect the redirect's parameters."""
    return Callback(
        state=SecretStr(state) if state else None,
        code=SecretStr(code) if code else None,
        scopes=scopes,
        error=error,
        error_type=error_type,
    )


@router.get("/callback")
async def callback(
    request: Request,
    parts: WiredParts,
    answer: Annotated[Callback, Depends(callback_of)],
    _: Annotated[str, Depends(caller("gateway"))],
) -> Response:
    """Finish connecting: 200, or 302 to the `return_url` given at the start; the same body in both cases.

    A mode of posting that the grant does not allow is told in `warnings`, to the `return_url` in `scopes_not_granted`.

    The state is used up first. Refusals: 400 `invalid_state`, `other_browser`, `authorization_denied`, `authorization_failed`,
    `code_missing`, `code_expired`, `missing_scope`, `profile_not_authorized`; 409 `account_owned_by_another_user`,
    `account_disconnecting`; 502 `tiktok_unavailable`, `tiktok_refused`; 503 `tiktok_rate_limit_exceeded`, `grant_not_stored`.
    All but `invalid_state` send the browser to the `return_url` too, with the code as `error`.
    """
    connecting = None
    if answer.state is not None:
        async with parts.database.transaction() as tx:
            connecting = await finish_connecting(tx, parts.vault, answer.state)
    if answer.state is None or not isinstance(connecting, Connecting):
        refusal = invalid_state()
        await _tell_failed(request, parts, refusal, connecting.user_id if connecting is not None else None)
        raise refusal
    try:
        require_same_browser(request, answer.state)
        origin = request_context(request, user_id=connecting.user_id)
        account = await connect(parts, origin, connecting, _code(parts, answer))
        response = _connected(account, connecting.return_url)
    except Problem as problem:
        await _tell_failed(request, parts, problem, connecting.user_id)
        if connecting.return_url is None:
            raise
        log.info("connecting_refused", code=problem.code)
        response = _refused(problem, connecting.return_url, request_id_of(request))
    forget(response, answer.state, redirect_uri=parts.settings.tiktok_redirect_uri)
    return response


async def _tell_failed(request: Request, parts: Parts, problem: Problem, user_id: UUID | None) -> None:
    """Tell of it; where the database does not take it, the log alone does, and the browser goes its way all the same."""
    origin = request_context(request, user_id=user_id)
    try:
        async for attempt in until_stored(TELL_SECONDS):
            with attempt:
                async with parts.database.transaction() as tx:
                    await fail_connecting(tx, parts.outbox, origin, user_id=user_id, reason=problem.code)
    except Exception as error:
        if not is_database_away(error) and not is_database_busy(error):
            raise
        log.warning("failed_connection_not_told", code=problem.code, kind=type(error).__name__)


def _code(parts: Parts, answer: Callback) -> SecretStr:
    if answer.error:
        log.info("authorization_refused", error=answer.error[:64], error_type=(answer.error_type or "")[:64])
        raise denied(answer.error, answer.error_type)
    if answer.scopes:
        check_scopes(parts, split_scopes(answer.scopes))
    if answer.code is None:
        raise _code_missing()
    return answer.code


def _connected(account: Account, return_url: str | None) -> Response:
    unusable = unusable_modes(account.scopes)
    body: dict[str, Any] = {"success": True, "account_id": account.id}
    told = {"success": "true", "account_id": str(account.id)}
    if unusable:
        body["warnings"] = [mode.as_warning() for mode in unusable]
        told["scopes_not_granted"] = ",".join(mode.scope for mode in unusable)
    if return_url is None:
        return json_response(body)
    headers = {"Location": _with_query(return_url, told)}
    return json_response({**body, "return_url": return_url}, status=302, headers=headers)


def _refused(problem: Problem, return_url: str, request_id: str) -> Response:
    """Send the browser back with the problem's code alone: neither TikTok's code nor the state leaves with it."""
    headers = {
        "Location": _with_query(return_url, {"success": "false", "error": problem.code}),
        "Cache-Control": "no-store",
    }
    return json_response(problem.to_body(request_id), status=302, headers=headers, media_type=PROBLEM_TYPE)


def _with_query(url: str, values: dict[str, str]) -> str:
    page, mark, fragment = url.partition("#")
    return f"{page}{'&' if '?' in page else '?'}{urlencode(values)}{mark}{fragment}"


def _code_missing() -> Problem:
    return Problem(400, "code_missing", "TikTok sent no authorization code.", hint="Start connecting again.")


def _return_url_not_allowed() -> Problem:
    detail = "The return_url is not one of the allowed addresses."
    return Problem(
        422,
        "return_url_not_allowed",
        detail,
        hint="The operator lists allowed addresses in OAUTH_RETURN_URLS.",
        errors=[FieldError("return_url", "return_url_not_allowed", detail)],
    )
