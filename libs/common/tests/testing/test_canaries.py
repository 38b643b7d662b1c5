"""The scanner finds what it is there for: a scan that never fails proves nothing."""

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from common.testing.canaries import Canaries

PASSWORD = "c\u00e4nary pass/word+&7f3a9"
TOKEN = "act.x9Y_-k2!3abcdefgh"


@pytest.fixture
def canaries() -> Canaries:
    canaries = Canaries()
    canaries.add("password", PASSWORD)
    canaries.add("token", TOKEN)
    canaries.add("seed", bytes(range(200, 232)))
    return canaries


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN])
@pytest.mark.parametrize(
    "written",
    [
        lambda secret: secret.encode(),
        lambda secret: secret.encode().hex().encode(),
        lambda secret: secret.encode().hex().upper().encode(),
        lambda secret: base64.b64encode(secret.encode()),
        lambda secret: base64.urlsafe_b64encode(secret.encode()).rstrip(b"="),
        lambda secret: base64.b64encode(b"x" + secret.encode() + b"yz"),
        lambda secret: base64.b64encode(b"xy" + secret.encode() + b"z"),
        lambda secret: base64.urlsafe_b64encode(b"user:" + secret.encode()),
        lambda secret: quote(secret, safe="").encode(),
        lambda secret: quote_plus(secret).encode(),
        lambda secret: quote(secret, safe="").lower().encode() if secret == PASSWORD else quote(secret).encode(),
        lambda secret: json.dumps({"password": secret}).encode(),
        lambda secret: json.dumps({"password": secret}, ensure_ascii=False).encode(),
    ],
)
def test_each_form_is_found_anywhere(canaries: Canaries, secret: str, written: object) -> None:
    assert callable(written)
    for before, after in ((b"", b""), (b"x" * 999, b"y" * 999), (b"\x00\xff\n", b"\n\x00"), (b'{"a":"', b'"}')):
        found = canaries.in_bytes(before + written(secret) + after)
        assert {name.split()[0] for name in found} == {"password" if secret == PASSWORD else "token"}


def test_binary_secrets_are_found_raw_and_encoded(canaries: Canaries) -> None:
    seed = bytes(range(200, 232))
    for written in (seed, seed.hex().encode(), base64.b64encode(seed), base64.b64encode(b"a" + seed)):
        assert {name.split()[0] for name in canaries.in_bytes(b"log " + written + b" log")} == {"seed"}


def test_nothing_is_found_where_nothing_is(canaries: Canaries, tmp_path: Path) -> None:
    assert canaries.in_bytes(b"") == set()
    assert canaries.in_bytes(PASSWORD[:-1].encode() + b"\n" + TOKEN[1:].encode()) == set()
    file = tmp_path / "some.log"
    file.write_text("password=[redacted]\n" * 1000)
    assert canaries.in_files([file]) == {}
    with pytest.raises(FileNotFoundError):
        canaries.in_files([tmp_path / "missing.log"])


def test_secrets_too_short_to_look_for_are_refused(canaries: Canaries) -> None:
    with pytest.raises(ValueError, match="too short"):
        canaries.add("pin", "1234")
    assert len(canaries) > 3
