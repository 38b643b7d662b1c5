"""The stack's own passwords and keys: made once, kept in `.local/secrets.json` (0600)."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from localstack.definitions import is_consumer
from localstack.errors import StackError
from localstack.paths import Paths, write_private

DATABASE_SERVICES = ("accounts", "scheduler", "publisher", "analytics")
SERVICES = ("gateway", *DATABASE_SERVICES)
DATABASE_OWNERS = {"analytics": "analytics_owner"}
"""Where the role that migrates is not the one the service runs as: the service may not change its audit trail."""

BROKER_USERS = (*SERVICES, "audit", "admin")


def load_secrets(paths: Paths) -> dict[str, Any]:
    """Read the secrets, making those that do not exist yet; existing ones change by `change_secrets` alone."""
    try:
        known: dict[str, Any] = json.loads(paths.secrets.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = {}
    merged = _merge(known, _wanted())
    if merged != known:
        write_private(paths.secrets, json.dumps(merged, indent=1, sort_keys=True) + "\n")
    _show_encryption_key(paths, merged["encryption_key"])
    return merged


def change_secrets(paths: Paths, changes: dict[str, Any]) -> None:
    """Store other values of single secrets, in one step; None removes one."""
    known = {**load_secrets(paths), **changes}
    kept = {name: value for name, value in known.items() if value is not None}
    write_private(paths.secrets, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    _show_encryption_key(paths, kept["encryption_key"])


def keep_consumer(paths: Paths, user: str, *, tell: Callable[[], None]) -> str:
    """Return the password of a user for a consumer; raises StackError for any other name.

    At the first time it is made, after `tell` has returned.
    """
    if not is_consumer(user):
        raise StackError(f"{user} is no audit-NAME of lower case letters, digits and single hyphens, e.g. audit-datateam")
    known: dict[str, str] = load_secrets(paths)["rabbitmq"]
    if user not in known:
        tell()
        known = {**known, user: _password()}
        change_secrets(paths, {"rabbitmq": known})
    return known[user]


def _show_encryption_key(paths: Paths, keys: str) -> None:
    """Write the file that accounts follows, where it is not the same already: also after a command died between the two."""
    text = f"{keys}\n"
    if not paths.encryption_key.exists() or paths.encryption_key.read_text(encoding="utf-8") != text:
        write_private(paths.encryption_key, text)


def new_encryption_key() -> str:
    """Return a new Fernet key."""
    return _encoded(secrets.token_bytes(32), padded=True)


def _wanted() -> dict[str, Any]:
    return {
        "postgres": dict.fromkeys(("postgres", *DATABASE_SERVICES, *DATABASE_OWNERS.values()), _password),
        "rabbitmq": dict.fromkeys(BROKER_USERS, _password),
        "service_keys": dict.fromkeys(SERVICES, _key_pair),
        "encryption_key": new_encryption_key,
        "audit_signing_key": lambda: _key_pair()["private"],
        "operation_key": lambda: _encoded(secrets.token_bytes(32)),
        "tiktok_client_key": lambda: "sim" + secrets.token_hex(8),
        "tiktok_client_secret": _password,
        "demo_password": _password,
    }


def _merge(known: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for name, make in wanted.items():
        if isinstance(make, dict):
            merged[name] = _merge(known.get(name, {}), make)
        elif name not in known:
            factory: Callable[[], Any] = make
            merged[name] = factory()
    return merged


def _password() -> str:
    return secrets.token_hex(20)


def _key_pair() -> dict[str, str]:
    key = Ed25519PrivateKey.generate()
    return {
        "private": _encoded(key.private_bytes_raw()),
        "public": _encoded(key.public_key().public_bytes_raw()),
    }


def _encoded(raw: bytes, *, padded: bool = False) -> str:
    text = base64.urlsafe_b64encode(raw).decode()
    return text if padded else text.rstrip("=")
