import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import SecretStr

from common.settings import EXIT_BAD_SETTINGS, DatabaseSettings, ServiceSettings, load
from common.testing.keys import ServiceKeys


class Settings(ServiceSettings, DatabaseSettings):
    SERVICE: ClassVar[str] = "scheduler"

    http_port: int = 8402
    upload_key: SecretStr = SecretStr("default")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, service_keys: ServiceKeys) -> dict[str, str]:
    values = {
        "AMQP_URL": "amqp://guest:canary-amqp@127.0.0.1:5690/",
        "DATABASE_URL": "postgresql://u:canary-db@127.0.0.1:5490/scheduler",
        "SERVICE_PRIVATE_KEY": service_keys.private_text("scheduler"),
        "SERVICE_PUBLIC_KEYS": json.dumps(service_keys.public_texts()),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        load(Settings)
    assert caught.value.code == EXIT_BAD_SETTINGS
    return capsys.readouterr().err


def test_reads_the_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTS_URL", "http://accounts:8401/")
    settings = load(Settings)
    assert settings.http_port == 8402
    assert settings.accounts_url == "http://accounts:8401"
    assert settings.amqp_url.get_secret_value() == environment["AMQP_URL"]
    assert settings.service == "scheduler"
    assert settings.instance.startswith("scheduler-")
    assert "canary" not in repr(settings)


def test_instance_can_be_given(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_INSTANCE", "scheduler-2")
    assert load(Settings).instance == "scheduler-2"


def test_missing_settings_are_all_named(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AMQP_URL")
    monkeypatch.setenv("DATABASE_URL", "")
    message = refusal(capsys)
    assert "AMQP_URL: is missing" in message
    assert "DATABASE_URL: is missing" in message
    assert message.startswith("scheduler cannot start")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AMQP_URL", "http://canary-value", "must begin with amqp://"),
        ("DATABASE_URL", "mysql://canary-value", "must begin with postgresql://"),
        ("SERVICE_PRIVATE_KEY", "canary-value", "32 bytes"),
        ("SERVICE_PRIVATE_KEY", "canary value é", "base64url"),
        ("SERVICE_PUBLIC_KEYS", "canary-value", "not valid JSON"),
        ("SERVICE_PUBLIC_KEYS", '{"gateway": "canary-value"}', "'gateway'"),
        ("HTTP_PORT", "canary-value", "valid integer"),
        ("HTTP_PORT", "70000", "65535"),
        ("LOG_LEVEL", "canary-value", "INFO"),
        ("ACCOUNTS_URL", "canary-value", "http://"),
        ("SHUTDOWN_GRACE_SECONDS", "0", "greater than 0"),
    ],
)
def test_malformed_settings_are_named_without_their_value(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv(name, value)
    message = refusal(capsys)
    assert name in message
    assert expected in message
    assert "canary" not in message


def test_secrets_may_come_from_files(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AMQP_URL", "SERVICE_PUBLIC_KEYS"):
        monkeypatch.delenv(name)
        file = tmp_path / name
        file.write_text(environment[name] + "\n")
        monkeypatch.setenv(f"{name}_FILE", str(file))
    settings = load(Settings)
    assert settings.amqp_url.get_secret_value() == environment["AMQP_URL"]
    assert settings.service_public_keys == json.loads(environment["SERVICE_PUBLIC_KEYS"])


def test_an_unreadable_secret_file_is_named(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AMQP_URL")
    monkeypatch.setenv("AMQP_URL_FILE", "/nonexistent/file")
    assert "AMQP_URL_FILE cannot be read: FileNotFoundError" in refusal(capsys)


def test_a_secret_file_with_bad_json_is_named(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("SERVICE_PUBLIC_KEYS")
    file = tmp_path / "keys"
    file.write_text("canary")
    monkeypatch.setenv("SERVICE_PUBLIC_KEYS_FILE", str(file))
    message = refusal(capsys)
    assert "SERVICE_PUBLIC_KEYS is not valid JSON" in message
    assert "canary" not in message
