"""What requests carry. Unknown fields are refused; no message repeats a value."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from accounts.domain.api_key import NAME_MAX
from accounts.domain.identity import (
    PASSWORD_MAX,
    Email,
    Unacceptable,
    parse_email,
    parse_password,
    parse_timezone,
    parse_username,
)
from accounts.domain.scopes import Scope
from accounts.security.opaque import TOKEN_MAX
from common.clock import utc_now
from common.contracts.moment import Moment

EMAIL_TEXT_MAX = 320
KEY_LIFE_MAX = timedelta(days=3660)


V = TypeVar("V")
R = TypeVar("R")


def _coded(parse: Callable[[V], R]) -> Callable[[V], R]:
    """Return the rule as a validator whose field errors carry the rule's own code."""

    def validate(value: V) -> R:
        try:
            return parse(value)
        except Unacceptable as refusal:
            raise PydanticCustomError(refusal.code, refusal.message) from None

    return validate


def _secret_password(secret: SecretStr) -> SecretStr:
    return SecretStr(parse_password(secret.get_secret_value()))


def _email(value: object) -> Email:
    if not isinstance(value, str):
        raise Unacceptable("email_invalid", "not a valid email address")
    return parse_email(value)


def _key_name(value: str) -> str:
    name = value.strip()
    if not name or not name.isprintable():
        raise Unacceptable("name_invalid", "a name has at least one character, and no control characters")
    return name


def _future(value: datetime) -> datetime:
    if not utc_now() < value < utc_now() + KEY_LIFE_MAX:
        raise Unacceptable("expires_at_out_of_range", "must lie in the future, at most ten years ahead")
    return value


class Body(BaseModel):
    """Base of request bodies."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, frozen=True)


class Registration(Body):
    """A new person."""

    email: Annotated[Email, BeforeValidator(_coded(_email))]
    username: Annotated[str, AfterValidator(_coded(parse_username))]
    password: Annotated[SecretStr, AfterValidator(_coded(_secret_password))]
    timezone: Annotated[str, AfterValidator(_coded(parse_timezone))] = "UTC"


class Login(Body):
    """Email and password as typed; a malformed one is simply wrong."""

    email: Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_TEXT_MAX)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_MAX)]


class PasswordChange(Body):
    """The password that was, as typed, and the one that is to be."""

    current_password: Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_MAX)]
    new_password: Annotated[SecretStr, AfterValidator(_coded(_secret_password))]
    revoke_api_keys: StrictBool = False


class Refresh(Body):
    """The session's newest refresh token."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=TOKEN_MAX)]


class NewApiKey(Body):
    """A key to be made."""

    name: Annotated[str, StringConstraints(max_length=NAME_MAX), AfterValidator(_coded(_key_name))]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Annotated[Moment, AfterValidator(_coded(_future))] | None = None


class ApiKeyExchange(Body):
    """An API key that came as a bearer token; `many_addresses` when it comes from more than the gateway tells apart."""

    key: Annotated[SecretStr, Field(min_length=1, max_length=TOKEN_MAX)]
    many_addresses: bool = False


class AccessTokenRequest(BaseModel):
    """Names, by its hex SHA-256, a token that TikTok refused; `under_way` when something was sent with the grant already."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, frozen=True)

    rejected_token_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-fA-F]{64}$",
        validation_alias=AliasChoices("rejected_token_sha256", "force_refresh"),
    )
    under_way: bool = False
