"""JSON Web Key Sets of Ed25519 keys (RFC 7517, RFC 8037)."""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.auth.keys import public_key_from, public_key_text

JWKS_PATH = "/.well-known/jwks.json"


def jwks_of(keys: Mapping[str, Ed25519PublicKey]) -> dict[str, Any]:
    """Return the JSON object of a key set; the mapping's keys become `kid`."""
    return {
        "keys": [
            {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": public_key_text(key)}
            for kid, key in keys.items()
        ]
    }


def keys_of(jwks: Any) -> dict[str, Ed25519PublicKey]:
    """Return the usable Ed25519 keys of a key set by `kid`.

    Keys of other kinds are left out, as RFC 7517 asks; ValueError when the whole is not a key set.
    """
    entries = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 - malformed data from outside, not a wrong call
    keys: dict[str, Ed25519PublicKey] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519":
            continue
        if entry.get("alg", "EdDSA") != "EdDSA" or entry.get("use", "sig") != "sig":
            continue
        kid, x = entry.get("kid"), entry.get("x")
        if isinstance(kid, str) and isinstance(x, str):
            keys[kid] = public_key_from(x)
    return keys
