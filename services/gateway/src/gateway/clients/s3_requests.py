"""Signed requests to an S3-compatible store, for the little that `obstore` does not do (AWS Signature Version 4, header form)."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

_EMPTY = hashlib.sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class S3Access:
    """Where a store is and who asks; without `endpoint` it is Amazon's of the region."""

    key_id: str
    secret: SecretStr
    region: str
    endpoint: str = ""
    session_token: SecretStr | None = None

    @property
    def address(self) -> str:
        """The store's address without a slash at its end; buckets follow in the path."""
        return (self.endpoint or f"https://s3.{self.region}.amazonaws.com").rstrip("/")


def signed_headers(access: S3Access, method: str, url: str, query: Mapping[str, str], *, now: datetime) -> dict[str, str]:
    """Return the headers of a request without a body to `url` (without a query) with this `query`."""
    parts, moment = urlsplit(url), now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": moment}
    if access.session_token is not None:
        headers["x-amz-security-token"] = access.session_token.get_secret_value()
    names = ";".join(sorted(headers))
    shown = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join([method, parts.path or "/", query_text(query), shown, names, _EMPTY])
    scope = f"{moment[:8]}/{access.region}/s3/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{access.secret.get_secret_value()}".encode()
    for part in (moment[:8], access.region, "s3", "aws4_request"):
        key = _hmac(key, part)
    signature = _hmac(key, to_sign).hex()
    headers["authorization"] = f"{_ALGORITHM} Credential={access.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers


def query_text(query: Mapping[str, str]) -> str:
    """Return a query as it is signed."""
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(query.items()))


def path_text(path: str) -> str:
    """Return a path as it is signed."""
    return quote(path, safe="/-_.~")


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
