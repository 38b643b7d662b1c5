"""Joining caption, hashtags and mentions; counting as TikTok counts."""

import pytest

from scheduler.domain.caption import join_title, utf16_units


@pytest.mark.parametrize(
    ("caption", "hashtags", "mentions", "title"),
    [
        ("Hello", ["a", "b"], ["ann"], "Hello #a #b @ann"),
        ("Hello", ["#a"], ["@ann"], "Hello #a @ann"),
        ("Look #A here", ["a", "b"], [], "Look #A here #b"),
        ("Look #ab", ["a"], [], "Look #ab #a"),
        ("x#a", ["a"], [], "x#a #a"),
        ("by @ann, thanks", [], ["ann"], "by @ann, thanks"),
        ("", ["a"], [], "#a"),
        ("", [], [], ""),
        ("t", ["a", "A", "a"], [], "t #a"),
        ("#ä", ["Ä"], [], "#ä"),
        ("line\n#a", ["a"], [], "line\n#a"),
        ("a.b", ["c+d"], [], "a.b #c+d"),
    ],
)
def test_join(caption: str, hashtags: list[str], mentions: list[str], title: str) -> None:
    assert join_title(caption, hashtags, mentions) == title


@pytest.mark.parametrize(
    ("text", "units"), [("abc", 3), ("\u00e9", 1), ("e\u0301", 2), ("👍", 2), ("👨‍👩‍👧", 8), ("\ud800", 1)]
)
def test_units(text: str, units: int) -> None:
    assert utf16_units(text) == units
