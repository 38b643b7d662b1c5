"""What a person calls themselves: emails, usernames, passwords and time zones, in one normal form each."""

import unicodedata
from dataclasses import dataclass
from zoneinfo import available_timezones

from email_validator import EmailNotValidError, validate_email
from pydantic import SecretStr

EMAIL_MAX = 254
USERNAME_MIN, USERNAME_MAX = 3, 50
PASSWORD_MIN, PASSWORD_MAX = 8, 1024

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_TIMEZONES = frozenset(available_timezones())


@dataclass(frozen=True, slots=True)
class Email:
    """An address as it was given (`shown`) and as it is compared (`key`: NFKC, case folded)."""

    shown: str
    key: str


def parse_email(value: str) -> Email:
    """Return the address in its normal form. Raises ValueError with a sentence for people."""
    text = unicodedata.normalize("NFKC", value).strip()
    if len(text) > EMAIL_MAX:
        raise ValueError(f"an email address has at most {EMAIL_MAX} characters")
    try:
        checked = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise ValueError("not a valid email address") from None
    return Email(checked.normalized, _folded(checked.normalized))


def email_key(value: str) -> str:
    """Return what two spellings of one address have in common; never raises, so that a login can look up anything."""
    try:
        return parse_email(value).key
    except ValueError:
        return _folded(value.strip())


def _folded(value: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())


def parse_username(value: str) -> str:
    """Return the name, NFKC and trimmed. Raises ValueError when its length or a character is not allowed."""
    name = unicodedata.normalize("NFKC", value).strip()
    if not USERNAME_MIN <= len(name) <= USERNAME_MAX:
        raise ValueError(f"a username has {USERNAME_MIN} to {USERNAME_MAX} characters")
    if any(unicodedata.category(character) in _UNSEEN_CATEGORIES for character in name):
        raise ValueError("a username has no control or invisible characters")
    return name


def parse_password(value: str) -> str:
    """Return the password in NFKC, so that any keyboard types the same one. Raises ValueError on length or a NUL."""
    if len(value) < PASSWORD_MIN:
        raise ValueError(f"a password has at least {PASSWORD_MIN} characters")
    if len(value) > PASSWORD_MAX:
        raise ValueError(f"a password has at most {PASSWORD_MAX} characters")
    if "\x00" in value:
        raise ValueError("a password has no NUL character")
    return unicodedata.normalize("NFKC", value)


def normal_password(password: SecretStr) -> SecretStr:
    """Return a typed password in the form that `parse_password` gave the stored one, without judging it."""
    return SecretStr(unicodedata.normalize("NFKC", password.get_secret_value()))


def parse_timezone(value: str) -> str:
    """Return the IANA name. Raises ValueError when there is no such zone."""
    if value not in _TIMEZONES:
        raise ValueError("not an IANA time zone, as Europe/Berlin")
    return value
