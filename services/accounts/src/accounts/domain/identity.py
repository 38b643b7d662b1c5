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
_UNSEEN_RANGES = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)
"""Letters and marks that show nothing: fillers, the empty braille pattern, variation selectors."""
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})
"""Files of the time zone database that are no zone of anywhere, or another one on each machine."""
_TIMEZONES = frozenset(available_timezones()) - _NO_PLACES


class Unacceptable(ValueError):
    """A rule was broken: its machine code and a sentence for people, which never repeats the value."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Email:
    """An address as it was given (`shown`) and as it is compared (`key`: NFKC, case folded)."""

    shown: str
    key: str


def parse_email(value: str) -> Email:
    """Return the address in its normal form. Raises Unacceptable `email_too_long` or `email_invalid`."""
    if len(value) > 4 * EMAIL_MAX:
        raise _too_long_email()
    text = unicodedata.normalize("NFKC", value).strip()
    if len(text) > EMAIL_MAX:
        raise _too_long_email()
    try:
        checked = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise Unacceptable("email_invalid", "not a valid email address") from None
    if _has_unseen(checked.normalized):
        raise Unacceptable("email_invalid", "not a valid email address")
    return Email(checked.normalized, _folded(checked.normalized))


def email_key(value: str) -> str:
    """Return what two spellings of one address have in common; never raises, so that a login can look up anything."""
    try:
        return parse_email(value).key
    except ValueError:
        # No stored key is like this one: PostgreSQL cannot even be asked for a NUL.
        return _folded(value.strip()).replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _too_long_email() -> Unacceptable:
    return Unacceptable("email_too_long", f"an email address has at most {EMAIL_MAX} characters")


def _folded(value: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())


def _has_unseen(text: str) -> bool:
    return any(
        unicodedata.category(character) in _UNSEEN_CATEGORIES
        or any(first <= ord(character) <= last for first, last in _UNSEEN_RANGES)
        for character in text
    )


def parse_username(value: str) -> str:
    """Return the name, NFKC and trimmed; its length counts after that. Names need not be unique, emails are.

    Raises Unacceptable `username_too_short`, `username_too_long` or `username_invalid` (control, invisible and direction
    characters, odd spaces, nothing but signs).
    """
    name = unicodedata.normalize("NFKC", value[: 4 * USERNAME_MAX]).strip()
    if len(value) > 4 * USERNAME_MAX or len(name) > USERNAME_MAX:
        raise Unacceptable("username_too_long", f"a username has at most {USERNAME_MAX} characters")
    if _has_unseen(name) or any(character != " " and unicodedata.category(character) == "Zs" for character in name):
        raise Unacceptable("username_invalid", "a username has no control or invisible characters")
    if len(name) < USERNAME_MIN:
        raise Unacceptable("username_too_short", f"a username has at least {USERNAME_MIN} characters")
    if not any(character.isalnum() for character in name):
        raise Unacceptable("username_invalid", "a username has at least one letter or digit")
    return name


def parse_password(value: str) -> str:
    """Return the password in NFKC, so that any keyboard types the same one; its length counts in that form.

    Raises Unacceptable `password_too_short`, `password_too_long`, or `password_invalid` for a NUL or half a surrogate pair.
    """
    if len(value) > PASSWORD_MAX:
        raise _too_long_password()
    password = unicodedata.normalize("NFKC", value)
    if len(password) > PASSWORD_MAX:
        raise _too_long_password()
    if len(password) < PASSWORD_MIN:
        raise Unacceptable("password_too_short", f"a password has at least {PASSWORD_MIN} characters")
    if any(character == "\x00" or unicodedata.category(character) == "Cs" for character in password):
        raise Unacceptable("password_invalid", "a password has no NUL character")
    return password


def _too_long_password() -> Unacceptable:
    return Unacceptable("password_too_long", f"a password has at most {PASSWORD_MAX} characters")


def normal_password(password: SecretStr) -> SecretStr:
    """Return a typed password in the form that `parse_password` gave the stored one, without judging it."""
    return SecretStr(unicodedata.normalize("NFKC", password.get_secret_value()))


def parse_timezone(value: str) -> str:
    """Return the IANA name. Raises Unacceptable `timezone_unknown`, also for `localtime` and `Factory`."""
    if value not in _TIMEZONES:
        raise Unacceptable("timezone_unknown", "not an IANA time zone, as Europe/Berlin")
    return value
