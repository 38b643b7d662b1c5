"""Connecting a TikTok account by OAuth."""

import asyncio
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
from accounts.clients.tiktok_problems import denied, exchange_problem, missing_scope, profile_problem, tiktok_away
from accounts.domain.account import Account
from accounts.domain.profile import Profile
from accounts.domain.return_url import RETURN_URL_MAX, is_allowed
from accounts.domain.scopes import missing_scopes, unusable_modes
from accounts.parts import Parts
from accounts.security.token_sealing import seal_grant
from accounts.storage.held_grants import is_held
from accounts.usecases.connect_account import Grant, connect_account
from accounts.usecases.fail_connecting import fail_connecting
from accounts.usecases.finish_connecting import Connecting, finish_connecting, invalid_state
from accounts.usecases.start_connecting import start_connecting
from common.auth.claims import UserClaims
from common.clock import utc_now
from common.errors import FieldError, Problem
from common.http.identity import caller, request_context
from common.http.json_response import PROBLEM_TYPE, json_response
from common.http.request_id import request_id_of
from tiktok.errors import TikTokError
from tiktok.oauth import TokenGrant, authorize_url, pkce_pair, split_scopes

router = APIRouter(prefix="/internal/tiktok", tags=["tiktok"])
CODE_MAX = 2048
EXCHANGE_SECONDS = 12.0
REVOKE_SECONDS = 4.0

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
    `account_disconnecting`; 502 `tiktok_unavailable`, `tiktok_refused`; 503 `tiktok_rate_limit_exceeded`. All but
    `invalid_state` send the browser to the `return_url` too, with the code as `error`.
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
        response = _connected(await _connect(request, parts, answer, answer.state, connecting), connecting.return_url)
    except Problem as problem:
        await _tell_failed(request, parts, problem, connecting.user_id)
        if connecting.return_url is None:
            raise
        log.info("connecting_refused", code=problem.code)
        response = _refused(problem, connecting.return_url, request_id_of(request))
    forget(response, answer.state, redirect_uri=parts.settings.tiktok_redirect_uri)
    return response


async def _tell_failed(request: Request, parts: Parts, problem: Problem, user_id: UUID | None) -> None:
    async with parts.database.transaction() as tx:
        origin = request_context(request, user_id=user_id)
        await fail_connecting(tx, parts.outbox, origin, user_id=user_id, reason=problem.code)


async def _connect(request: Request, parts: Parts, answer: Callback, state: SecretStr, connecting: Connecting) -> Account:
    """Exchange the code and store the account; returns it. Raises every refusal of `callback` but `invalid_state`."""
    require_same_browser(request, state)
    grant = await _grant(parts, connecting, _code(parts, answer))
    origin = request_context(request, user_id=connecting.user_id)
    async with parts.database.transaction() as tx:
        account = await connect_account(tx, parts.outbox, origin, user_id=connecting.user_id, grant=grant)
        tx.after_commit(parts.refresh_planned)
    parts.creator_infos.forget(account.id)
    return account


def _code(parts: Parts, answer: Callback) -> SecretStr:
    if answer.error:
        log.info("authorization_refused", error=answer.error[:64], error_type=(answer.error_type or "")[:64])
        raise denied(answer.error, answer.error_type)
    if answer.scopes:
        _check_scopes(parts, split_scopes(answer.scopes))
    if answer.code is None:
        raise _code_missing()
    return answer.code


def _check_scopes(parts: Parts, granted: tuple[str, ...]) -> None:
    missing = missing_scopes(granted, parts.settings.required_scopes)
    if missing:
        raise missing_scope(missing)


async def _grant(parts: Parts, connecting: Connecting, code: SecretStr) -> Grant:
    """Exchange the code and read who the creator is; no transaction is open meanwhile."""
    asked_at = utc_now()
    try:
        async with asyncio.timeout(EXCHANGE_SECONDS):
            tokens = await parts.oauth.exchange_code(
                code, redirect_uri=parts.settings.tiktok_redirect_uri, code_verifier=connecting.code_verifier
            )
    except TikTokError as error:
        log.warning("code_exchange_failed", code=error.code, log_id=error.log_id)
        raise exchange_problem(error) from error
    except TimeoutError as error:
        raise tiktok_away() from error
    try:
        profile = await _profile(parts, tokens)
    except Problem:
        await _revoke_refused(parts, tokens)
        raise
    ahead = timedelta(seconds=parts.settings.token_refresh_ahead_seconds)
    return Grant(profile, tokens.scopes, seal_grant(parts.vault, tokens, asked_at=asked_at, ahead=ahead))


async def _profile(parts: Parts, tokens: TokenGrant) -> Profile:
    _check_scopes(parts, tokens.scopes)
    try:
        return await parts.profiles.read(tokens.access_token, tokens.scopes, open_id=tokens.open_id)
    except TikTokError as error:
        log.warning("profile_not_read", code=error.code, log_id=error.log_id)
        raise profile_problem(error, tokens.scopes) from error


async def _revoke_refused(parts: Parts, tokens: TokenGrant) -> None:
    """End a grant that is not stored, lest TikTok lists the app as authorised; what goes wrong is logged.

    Not while tokens of this creator are stored: at TikTok both grants are one. Somebody who connects the same creator between
    the look and the call loses the grant and has to connect again.
    """
    try:
        async with asyncio.timeout(REVOKE_SECONDS):
            async with parts.database.read() as connection:
                held = await is_held(connection, tokens.open_id)
            if not held:
                await parts.oauth.revoke(tokens.access_token)
    except Exception as error:  # noqa: BLE001 - the refusal is what counts, and it is on its way to the user
        log.warning("refused_grant_not_revoked", kind=type(error).__name__)
    else:
        log.info("refused_grant_kept" if held else "refused_grant_revoked")


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
