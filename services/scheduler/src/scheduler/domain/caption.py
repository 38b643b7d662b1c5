"""The title that TikTok gets: caption, hashtags and mentions joined."""

import re
from collections.abc import Iterable

MAX_TITLE_UNITS = 2200


def join_title(caption: str, hashtags: Iterable[str], mentions: Iterable[str]) -> str:
    """Return the caption followed by each hashtag as ` #tag` and each mention as ` @name`, in the given order.

    What the text holds already (as a whole word, letter case aside) is left out; a leading `#` or `@` in the lists is
    accepted. An empty caption begins with the first tag.
    """
    title = caption
    marked = [("#", tag) for tag in hashtags] + [("@", name) for name in mentions]
    for mark, word in marked:
        label = mark + word.removeprefix(mark)
        if not _holds(title, label):
            title = f"{title} {label}" if title else label
    return title


def utf16_units(text: str) -> int:
    """Return the length as TikTok counts it: UTF-16 code units (most emoji count 2)."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _holds(text: str, label: str) -> bool:
    return re.search(rf"(?<!\S){re.escape(label)}(?!\w)", text, re.IGNORECASE) is not None
