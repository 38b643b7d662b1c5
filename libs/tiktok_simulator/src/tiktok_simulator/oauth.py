"""Login Kit: the authorize page with its buttons, the token endpoint, and revocation."""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tiktok_simulator.answers import OAuthError
from tiktok_simulator.grants import IssuedTokens
from tiktok_simulator.oauth_rules import (
    BASIC_SCOPE,
    AuthorizeRequest,
    Problem,
    check_authorize,
    verifier_matches,
)
from tiktok_simulator.pages import authorize_page, oauth_error_page
from tiktok_simulator.paths import AUTHORIZE, REVOKE, TOKEN
from tiktok_simulator.requests import form_of
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter()
State = Annotated[Simulator, Depends(simulator_of)]
_REVOKED_BY_THE_APP = 5
_DENIALS = {
    "1": {"error": "access_denied", "error_description": "The user denied the request."},
    "non_sandbox_target": {"error": "access_denied", "error_type": "non_sandbox_target"},
}


@router.get(AUTHORIZE)
async def authorize(request: Request, simulator: State) -> Response:
    """Show the consent page; with ``simulator_creator`` approve at once, with ``simulator_deny`` deny at once.

    ``simulator_deny=1`` is a creator who does not want to, ``non_sandbox_target`` one who is no target user of a sandbox app.
    ``simulator_scopes`` (comma separated) is what the creator leaves ticked. A wrong request gets TikTok's own error
    page and no redirect.
    """
    query = dict(request.query_params)
    checked = check_authorize(query, simulator.settings)
    if isinstance(checked, list):
        return _error_page(checked)
    if (why := query.get("simulator_deny")) in _DENIALS:
        return _redirect(checked, _DENIALS[why])
    username = query.get("simulator_creator")
    if username is not None:
        ticked = query.get("simulator_scopes")
        return _approved(simulator, checked, username, ticked.split(",") if ticked is not None else None)
    return HTMLResponse(authorize_page(query, checked.scopes, simulator.creators.all()))


@router.post(AUTHORIZE)
async def decide(request: Request, simulator: State) -> Response:
    """Take the decision of the consent page: a creator's button with the ticked scopes, or deny."""
    form = await request.form(max_files=0, max_fields=50)
    query = {key: value for key, value in form.items() if isinstance(value, str)}
    checked = check_authorize(query, simulator.settings)
    if isinstance(checked, list):
        return _error_page(checked)
    username = query.get("simulator_creator")
    if username is None:
        return _redirect(checked, _DENIALS["1"])
    return _approved(simulator, checked, username, [str(scope) for scope in form.getlist("ticked")])


@router.post(TOKEN)
async def token(request: Request, simulator: State) -> JSONResponse:
    """Exchange a code, or rotate a refresh token."""
    form = await _client_form(request, simulator)
    grant_type = form.get("grant_type")
    if grant_type == "authorization_code":
        return _token_answer(_exchange(simulator, form))
    if grant_type == "refresh_token":
        issued = simulator.grants.rotate(_required(form, "refresh_token"))
        if issued is None:
            raise OAuthError("invalid_grant", "Refresh token is invalid or expired.")
        return _token_answer(issued)
    raise OAuthError("unsupported_grant_type", "The grant type is not supported.")


@router.post(REVOKE)
async def revoke(request: Request, simulator: State) -> JSONResponse:
    """Disconnect the app for the owner of an access token."""
    form = await _client_form(request, simulator)
    access = simulator.grants.access(_required(form, "token"))
    if access is None:
        raise OAuthError("invalid_grant", "The access token is invalid or expired.")
    simulator.withdraw(access.open_id, _REVOKED_BY_THE_APP)
    return JSONResponse({})


async def _client_form(request: Request, simulator: Simulator) -> dict[str, str]:
    form = await form_of(request)
    key_matches = _required(form, "client_key") == simulator.settings.client_key
    secret = simulator.settings.client_secret.get_secret_value()
    if not (secrets.compare_digest(_required(form, "client_secret").encode(), secret.encode()) and key_matches):
        raise OAuthError("invalid_client", "Client key or secret is incorrect.")
    return form


def _exchange(simulator: Simulator, form: Mapping[str, str]) -> IssuedTokens:
    code = simulator.grants.code(_required(form, "code"))
    redirect_uri = _required(form, "redirect_uri")
    if code is None:
        raise OAuthError("invalid_grant", "Authorization code is expired.")
    # A code is single use: a failed attempt burns it too.
    simulator.grants.use_code(code)
    if redirect_uri != code.redirect_uri:
        raise OAuthError("invalid_request", "Redirect_uri is not matched with the uri when requesting code.")
    if not verifier_matches(form.get("code_verifier"), code.challenge, simulator.settings):
        raise OAuthError("invalid_grant", "Code verifier or code challenge is invalid")
    return simulator.grants.issue(code.open_id, code.scopes)


def _required(form: Mapping[str, str], field: str) -> str:
    value = form.get(field)
    if not value:
        raise OAuthError("invalid_request", f"The request parameters are malformed: {field} is missing.")
    return value


def _token_answer(issued: IssuedTokens) -> JSONResponse:
    return JSONResponse(
        {
            "access_token": issued.access.token,
            "expires_in": issued.expires_in,
            "open_id": issued.access.open_id,
            "refresh_expires_in": issued.refresh_expires_in,
            "refresh_token": issued.refresh.token,
            "scope": ",".join(issued.access.scopes),
            "token_type": "Bearer",
        },
        headers={"Cache-Control": "no-store"},
    )


def _approved(simulator: Simulator, checked: AuthorizeRequest, username: str, ticked: list[str] | None) -> Response:
    creator = simulator.creators.named(username)
    if creator is None:
        return _error_page([Problem("simulator_creator", f"no creator is called {username!r}")])
    granted = [scope for scope in checked.scopes if ticked is None or scope in ticked or scope == BASIC_SCOPE]
    code = simulator.grants.new_code(creator.open_id, granted, checked.redirect_uri, checked.challenge)
    return _redirect(checked, {"code": code.code, "scopes": ",".join(granted)})


def _redirect(checked: AuthorizeRequest, answer: dict[str, Any]) -> Response:
    query = urlencode({**answer, "state": checked.state})
    return RedirectResponse(f"{checked.redirect_uri}?{query}", status_code=302)


def _error_page(problems: list[Problem]) -> Response:
    return HTMLResponse(oauth_error_page(problems), status_code=400)
