"""What TikTok checks in an authorize request and in a PKCE pair."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tiktok_simulator.settings import Settings

_HEX_CHALLENGE = re.compile(r"[0-9a-f]{64}")
_BASE64_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
_REDIRECT_LIMIT = 512
BASIC_SCOPE = "user.info.basic"


@dataclass(frozen=True, slots=True)
class Problem:
    """A parameter of the authorize address that TikTok's error page names, and why."""

    parameter: str
    reason: str


@dataclass(frozen=True, slots=True)
class AuthorizeRequest:
    """A valid authorize request."""

    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str | None


def check_authorize(query: Mapping[str, str], settings: Settings) -> AuthorizeRequest | list[Problem]:
    """Return the request, or everything that is wrong with it."""
    problems = []
    if query.get("client_key") != settings.client_key:
        problems.append(Problem("client_key", "unknown client key"))
    redirect_uri = query.get("redirect_uri", "")
    if not is_registered(redirect_uri, settings):
        problems.append(Problem("redirect_uri", "does not match a registered redirect URI"))
    if query.get("response_type") != "code":
        problems.append(Problem("response_type", "must be code"))
    if not query.get("state"):
        problems.append(Problem("state", "is missing"))
    if query.get("disable_auto_auth", "0") not in {"0", "1"}:
        problems.append(Problem("disable_auto_auth", "must be 0 or 1"))
    scopes = tuple(dict.fromkeys(query.get("scope", "").split(",")))
    unknown = [scope for scope in scopes if scope not in settings.scopes]
    if unknown:
        problems.append(Problem("scope", f"not available to this app: {', '.join(unknown)!r} (comma separated)"))
    problem = _challenge_problem(query, settings)
    if problem is not None:
        problems.append(problem)
    if problems:
        return problems
    with_basic = scopes if BASIC_SCOPE in scopes else (BASIC_SCOPE, *scopes)
    return AuthorizeRequest(redirect_uri, with_basic, query["state"], query.get("code_challenge") or None)


def is_registered(redirect_uri: str, settings: Settings) -> bool:
    """Return whether the address equals a registered one; a desktop app may have registered any port (``*``)."""
    if not redirect_uri or len(redirect_uri) >= _REDIRECT_LIMIT:
        return False
    if redirect_uri in settings.redirect_uris:
        return True
    if settings.platform != "desktop":
        return False
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port
    except ValueError:
        return False
    if port is None or parts.hostname not in {"localhost", "127.0.0.1"} or parts.query or parts.fragment:
        return False
    return redirect_uri.replace(f":{port}", ":*", 1) in settings.redirect_uris


def verifier_matches(verifier: str | None, challenge: str | None, settings: Settings) -> bool:
    """Return whether a token request proves the challenge of its authorize request; none asked, none needed."""
    if challenge is None:
        return settings.platform == "web"
    if verifier is None or _VERIFIER.fullmatch(verifier) is None:
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    if challenge == digest.hex():
        return True
    base64url = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return _is_lenient(settings) and challenge == base64url


def _challenge_problem(query: Mapping[str, str], settings: Settings) -> Problem | None:
    challenge = query.get("code_challenge")
    if not challenge:
        if settings.platform == "desktop":
            return Problem("code_challenge", "is required for desktop apps")
        return None
    if query.get("code_challenge_method") != "S256":
        return Problem("code_challenge_method", "must be S256")
    if _HEX_CHALLENGE.fullmatch(challenge):
        return None
    if _is_lenient(settings) and _BASE64_CHALLENGE.fullmatch(challenge):
        return None
    return Problem("code_challenge", "must be the lowercase hex SHA-256 of the verifier")


def _is_lenient(settings: Settings) -> bool:
    return settings.platform == "web" and settings.lenient_pkce
