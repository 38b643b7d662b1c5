import json
from typing import Any

import pytest

from common.telemetry.redaction import REDACTED, is_secret_key, redact, redact_event, redact_text

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_x"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-token.abc",
        "header bearer CANARYtoken==",
        "Basic Y2FuYXJ5OmNhbmFyeQ==canary",
        JWT + "canary",
        f"token was {JWT}canary in text",
        "act.canary123!456*x",
        "got rft.canaryABC-~_9 back",
        "clt.canary123456",
        "key cpk_live_canary123",
        "amqp://user:canary@rabbit:5672/vhost",
        "postgresql+asyncpg://u:canary%40x@db/name",
        "amqp://user:can/ary@rabbit:5672/vhost".replace("can/ary", "p:canary"),
        "https://x/callback?code=canary&state=canary2",
        "POST client_secret=canary&grant_type=x",
        '{"access_token": "canary", "expires_in": 1}',
        "{'refresh_token': 'canary'}",
        '{\\"password\\": \\"canary\\"}',
        "code_verifier: canary",
        "password=canary",
        "api_key=canary",
        "Cookie: canary=1",
        "X-Amz-Signature=canary",
        "https://upload/video?upload_id=1&upload_token=canary",
    ],
)
def test_secrets_in_text_are_removed(text: str) -> None:
    cleaned = redact_text(text)
    assert "canary" not in cleaned.lower()
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "",
        "post 0190b8e5-0000-7000-8000-000000000001 published",
        "https://tiktok.com/@user/video/123",
        "amqp://rabbit:5672/vhost",
        "http://127.0.0.1:8401/internal",
        "the token has expired",
        "code=429",
        "react.component.name",
        "keyboard",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "token", "access_token", "refreshToken", "PASSWORD", "client_secret", "Authorization", "set-cookie", "code_verifier",
        "api_key", "apikey", "private_key", "ENCRYPTION_KEY", "client_key", "credentials",
    ],
)  # fmt: skip
def test_secret_keys(key: str) -> None:
    assert is_secret_key(key)
    assert redact({key: "x", "deep": [{key: {"a": 1}}]}) == {key: REDACTED, "deep": [{key: REDACTED}]}


@pytest.mark.parametrize(
    "key", ["token_expires_at", "api_key_id", "token_type", "key", "code", "client_ip", "keys", "token_version"]
)
def test_harmless_keys(key: str) -> None:
    assert redact({key: "x"}) == {key: "x"}


def test_values_of_all_kinds() -> None:
    class Odd:
        def __str__(self) -> str:
            return "Bearer canary"

    deep: Any = "cpk_canary"
    for _ in range(20):
        deep = {"a": deep}
    event = {
        "event": f"login with {JWT}",
        "n": 1,
        "none": None,
        "token": None,
        "has_token": True,
        "raw": b"password=canary",
        "odd": Odd(),
        "many": ("cpk_canary", {"cpk_canary2"}),
        "deep": deep,
        "exception": "Traceback ... RuntimeError: amqp://u:canary@h",
        "_record": Odd(),
    }
    cleaned = dict(redact_event(None, "info", event))
    assert cleaned.pop("_record")
    assert "canary" not in json.dumps(cleaned)
    assert JWT not in json.dumps(cleaned)
    assert (cleaned["n"], cleaned["none"], cleaned["token"], cleaned["has_token"]) == (1, None, None, True)
