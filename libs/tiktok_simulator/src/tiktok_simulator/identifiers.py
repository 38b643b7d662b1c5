"""Identifiers in the shapes that TikTok uses."""

import base64
import hashlib
import secrets
import time


def snowflake() -> int:
    """Return a 19-digit id: seconds in the upper half, random bits in the lower."""
    return int(time.time()) << 32 | secrets.randbits(32)


def log_id() -> str:
    """Return a log id: UTC time and random hex."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime()) + secrets.token_hex(9).upper()


def access_token() -> str:
    """Return an access token."""
    return f"act.{secrets.token_urlsafe(32)}!{secrets.randbelow(9000) + 1000}.va"


def refresh_token() -> str:
    """Return a refresh token."""
    return f"rft.{secrets.token_urlsafe(32)}!{secrets.randbelow(9000) + 1000}.va"


def authorization_code() -> str:
    """Return an authorization code; it has characters that must be URL-decoded before use."""
    return f"{secrets.token_urlsafe(32)}*{secrets.randbelow(10)}!{secrets.randbelow(9000) + 1000}.va"


def open_id(client_key: str, username: str) -> str:
    """Return the user's id at this app; it begins with a dash or an underscore, as real ones do."""
    digest = hashlib.sha256(f"{client_key}\n{username}".encode()).digest()
    first = "-_"[digest[-1] & 1]
    return f"{first}000{base64.urlsafe_b64encode(digest).decode()[:32]}"


def union_id(username: str) -> str:
    """Return the user's id over all apps of one developer."""
    return "u" + hashlib.sha256(username.encode()).hexdigest()[:31]
