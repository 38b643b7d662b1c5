"""Settings of a process: read from the environment once, at the composition root, and from nowhere else.

Every setting `NAME` may also be given as `NAME_FILE`, the path of a file that holds its value (Docker and Kubernetes secrets).
Messages about wrong settings name the setting and never show its value.
"""

import os
import re
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from common.auth.keys import private_key_from, public_keys_from

EXIT_BAD_SETTINGS = 2
MAX_PORT = 65535
MAX_SECRET_FILE_BYTES = 64 * 1024

_FIELD_IN_ERROR = re.compile(r'for field "(\w+)"')

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def _without_trailing_slash(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must be an http:// or https:// address")
    return url.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_without_trailing_slash)]
"""An http(s) address without trailing slash."""


def _private_key(secret: SecretStr) -> SecretStr:
    private_key_from(secret.get_secret_value())
    return secret


PrivateKey = Annotated[SecretStr, AfterValidator(_private_key)]
"""An Ed25519 private key, as `common.auth.keys` writes it."""


def _public_keys(keys: dict[str, str]) -> dict[str, str]:
    public_keys_from(keys)
    return keys


def _url_with_scheme(*schemes: str) -> AfterValidator:
    def check(secret: SecretStr) -> SecretStr:
        if not secret.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return secret

    return AfterValidator(check)


class FileSecretsSource(PydanticBaseSettingsSource):
    """Reads `NAME_FILE` for each setting `NAME`; the file's content without surrounding white space is the value."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return (value or None, setting name, whether the value is JSON to be decoded)."""
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            with Path(path).open(encoding="utf-8") as file:
                value = file.read(MAX_SECRET_FILE_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{field_name.upper()}_FILE cannot be read: {type(error).__name__}") from error
        return value, field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        """Return the values of all settings that are given as files."""
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, is_json = self.get_field_value(field, name)
            if value is None:
                continue
            try:
                values[key] = self.decode_complex_value(name, field, value) if is_json else value
            except ValueError as error:
                raise SettingsError(f"{name.upper()} is not valid JSON") from error
        return values


class EnvironmentSettings(BaseSettings):
    """Base of all settings: environment names are the field names in capitals; values never appear in messages."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True, populate_by_name=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of sources: arguments (tests), environment, `NAME_FILE`."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, FileSecretsSource(settings_cls)


class ServiceSettings(EnvironmentSettings):
    """What every service needs. A subclass sets `SERVICE` and gives `http_port` its default."""

    SERVICE: ClassVar[str] = "service"

    service_instance: str = Field(default="", max_length=200)
    http_host: str = "127.0.0.1"
    http_port: int
    http_shared_port: int = 0
    """A second port, which all replicas of a service on one machine listen on together; 0 for none."""
    metrics_port: int = 0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    amqp_url: Annotated[SecretStr, _url_with_scheme("amqp", "amqps")]
    accounts_url: BaseUrl = "http://127.0.0.1:8401"
    scheduler_url: BaseUrl = "http://127.0.0.1:8402"
    analytics_url: BaseUrl = "http://127.0.0.1:8403"
    publisher_url: BaseUrl = "http://127.0.0.1:8411"
    service_private_key: PrivateKey
    service_public_keys: Annotated[dict[str, str], AfterValidator(_public_keys)]
    jwt_issuer: str = "cuepost"
    jwt_audience: str = "cuepost-api"
    shutdown_grace_seconds: float = Field(default=20.0, gt=0, le=600)

    @field_validator("http_port", "http_shared_port", "metrics_port")
    @classmethod
    def _is_a_port(cls, port: int) -> int:
        """Hold for subclasses too, which redefine `http_port` to give it a default."""
        if not 0 <= port <= MAX_PORT:
            raise ValueError(f"must be between 0 and {MAX_PORT}")
        return port

    @property
    def service(self) -> str:
        """Name of the service, such as `scheduler`."""
        return self.SERVICE

    @property
    def instance(self) -> str:
        """Name of this process among the replicas of its service: SERVICE_INSTANCE or `<service>-<hostname>-<pid>`."""
        return self.service_instance or f"{self.SERVICE}-{socket.gethostname()}-{os.getpid()}"


class DatabaseSettings(EnvironmentSettings):
    """Mixin for services with a database of their own."""

    database_url: Annotated[SecretStr, _url_with_scheme("postgresql", "postgres", "postgresql+asyncpg")]
    database_pool_size: int = Field(default=10, ge=1, le=200)


def problems_of(error: ValidationError | SettingsError) -> list[str]:
    """Describe wrong settings, one line each: the environment name and what is wrong, never the value."""
    if isinstance(error, SettingsError):
        return [_without_values(error)]
    lines = []
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        name = str(item["loc"][0]).upper() if item["loc"] else "settings"
        message = "is missing" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}")
    return lines


def _without_values(error: SettingsError) -> str:
    text = str(error)
    found = _FIELD_IN_ERROR.search(text)
    return f"{found[1].upper()}: is not valid JSON" if found else text


def _fail(settings_class: type[BaseSettings], lines: list[str]) -> NoReturn:
    name = getattr(settings_class, "SERVICE", settings_class.__name__)
    sys.stderr.write(f"{name} cannot start, settings are missing or malformed:\n")
    sys.stderr.writelines(f"  {line}\n" for line in lines)
    raise SystemExit(EXIT_BAD_SETTINGS)


def load(settings_class: type[SettingsT]) -> SettingsT:
    """Read the settings from the environment.

    On missing or malformed settings a message naming each of them goes to stderr and the process exits with status 2.
    """
    try:
        return settings_class()
    except (ValidationError, SettingsError) as error:
        lines = problems_of(error)
    _fail(settings_class, lines)
