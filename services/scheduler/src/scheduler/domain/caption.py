"""The title that TikTok gets: caption, hashtags and mentions joined."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

MAX_TITLE_UNITS = 2200
MAX_WORD = 100
"""Characters of a hashtag or a mentioned name."""

_MARKED = re.compile(rf"(?<!\w)([#@])([^\s#@]{{1,{MAX_WORD + 1}}})")


def join_title(caption: str, hashtags: Iterable[str], mentions: Iterable[str]) -> str:
    """Return the caption followed by each hashtag as ` #tag` and each mention as ` @name`, in the given order.

    What the caption holds already (as a whole word, letter case aside) is left out, and so is what comes twice; a leading `#`
    or `@` in the lists is accepted. An empty caption begins with the first tag. Takes time in proportion to its input.
    """
    labels = ["#" + tag.removeprefix("#") for tag in hashtags] + ["@" + name.removeprefix("@") for name in mentions]
    wanted = {_folded(label): label for label in reversed(labels)}
    held = set(_held(_folded(caption), wanted.keys())) if wanted else set()
    added = [label for label in dict.fromkeys(map(_folded, labels)) if label not in held]
    return " ".join(([caption] if caption else []) + [wanted[label] for label in added])


def utf16_units(text: str) -> int:
    """Return the length as TikTok counts it: UTF-16 code units (most emoji count 2)."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _held(caption: str, wanted: Iterable[str]) -> Iterator[str]:
    """Yield each of the wanted labels that stands in the caption as a whole word; all are folded."""
    labels = frozenset(wanted)
    for match in _MARKED.finditer(caption):
        mark, run = match.groups()
        for end in range(1, min(len(run), MAX_WORD) + 1):
            if _ends(mark, run, end) and mark + run[:end] in labels:
                yield mark + run[:end]


def _ends(mark: str, run: str, end: int) -> bool:
    """Whether a word may end there: a name goes on after a dot (`@ann.lee`), a tag does not (`#fun.`)."""
    if end == len(run):
        return True
    if mark == "@" and run[end] == ".":
        return end + 1 == len(run) or not _in_word(run[end + 1])
    return not _in_word(run[end])


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
