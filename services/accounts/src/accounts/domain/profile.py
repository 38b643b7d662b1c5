"""A creator's profile as TikTok showed it."""

import unicodedata
from dataclasses import dataclass

from accounts.domain.latin_letters import PLAIN_LETTERS

NAME_MAX = 200
URL_MAX = 2048
COUNT_MAX = 2**63 - 1
# The joiner of graphemes and the selectors of variations; to Unicode they are marks like vowel signs, which are to stay.
_SHOWING_NOTHING = frozenset(map(chr, (0x034F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


@dataclass(frozen=True, slots=True)
class Profile:
    """Profile and counters of a creator; what the granted scopes do not show is None."""

    open_id: str
    union_id: str | None = None
    username: str | None = None
    display_name: str | None = None
    avatar_url: str | None = None
    follower_count: int | None = None
    following_count: int | None = None
    likes_count: int | None = None
    video_count: int | None = None


def clean_text(value: str | None, limit: int) -> str | None:
    """Return text from outside as the database can keep it: no NUL, no lone surrogate, at most `limit` characters."""
    if value is None:
        return None
    return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[:limit] or None


def clean_count(value: int | None) -> int | None:
    """Return a counter within 0 and what a bigint holds."""
    return None if value is None else min(max(value, 0), COUNT_MAX)


def search_text(*parts: str | None) -> str:
    """Return what a search looks in, and for: letters however they are dressed are their plain ones in lower case.

    `Jose` finds `José`, `lukasz` finds `Łukasz`, and letters of the mathematical alphabets are found too. Accents, and
    characters that show nothing by themselves, are left out, so a text of nothing else becomes the empty one. Text that was
    folded stays as it is.

    What is stored is folded by this; whoever changes it writes a migration that folds again.
    """
    joined = " ".join(part for part in parts if part)
    # Folding the case splits some characters, and splitting brings forth some capitals, hence both sides of it.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", joined).casefold())
    return "".join(character for character in folded if not _is_trimming(character)).translate(PLAIN_LETTERS)


def _is_trimming(character: str) -> bool:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Me", "Cf"):
        return True
    return character in _SHOWING_NOTHING


def search_pieces(wanted: str) -> list[str]:
    """Return the pieces of a folded search that an index can be asked for: each text with the search in it has them all.

    Every two characters that follow each other; of a single character, itself. Stored texts are cut by the database's function of
    this name into all pieces of one and two.
    """
    return sorted({wanted[place : place + 2] for place in range(max(len(wanted) - 1, 1))})
