"""The demo key: kept while the API does not say that it is dead, and replaced without leaving the old one behind."""

from pathlib import Path
from typing import Any

import pytest

from localstack import demo_access
from localstack.demo_access import KEY_NAME, working_key
from localstack.errors import StackError
from localstack.paths import Paths

GATEWAY = "http://127.0.0.1:1"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.create()
    made.stack_env.write_text("DEMO_API_KEY=cpk_old\n", encoding="utf-8")
    return made


@pytest.fixture
def calls() -> list[tuple[str, str]]:
    return []


def answering(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]], me: list[int]) -> None:
    """Answer as the gateway would; `/auth/me` with one of `me` after the other, the last one for good."""

    def call(_gateway: str, method: str, path: str, *_: Any, **__: Any) -> tuple[int, dict[str, Any]]:
        calls.append((method, path))
        match method, path.partition("?")[0]:
            case "GET", "/api/v1/auth/me":
                return (me.pop(0) if len(me) > 1 else me[0]), {}
            case "GET", "/api/v1/auth/api-keys":
                return 200, {"items": [{"id": "k1", "name": KEY_NAME}, {"id": "k2", "name": "another"}]}
            case "DELETE", _:
                return 204, {}
            case "POST", "/api/v1/auth/api-keys":
                return 201, {"key": "cpk_new"}
        return 200, {"access_token": "t"}

    monkeypatch.setattr(demo_access, "_call", call)
    monkeypatch.setattr(demo_access, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(demo_access, "PATIENCE_SECONDS", 30.0 if len(me) > 1 else 0.0)


@pytest.mark.parametrize("refusal", [429, 503])
def test_a_key_is_kept_over_a_refusal_that_says_nothing_of_it(
    paths: Paths, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    answering(monkeypatch, calls, [refusal, refusal, 200])
    assert working_key(GATEWAY, paths, "password") == "cpk_old"
    assert {method for method, _ in calls} == {"GET"}


def test_an_api_that_does_not_say_is_told(paths: Paths, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, calls, [503])
    with pytest.raises(StackError, match="does not say whether the demo key"):
        working_key(GATEWAY, paths, "password")


def test_a_dead_key_is_replaced_and_those_of_its_name_are_revoked(
    paths: Paths, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, calls, [401])
    assert working_key(GATEWAY, paths, "password") == "cpk_new"
    assert [path for method, path in calls if method == "DELETE"] == ["/api/v1/auth/api-keys/k1"]
