"""Joining caption, hashtags and mentions; counting as TikTok counts."""

import pytest

from scheduler.domain import caption
from scheduler.domain.caption import join_title, utf16_units


@pytest.mark.parametrize(
    ("text", "hashtags", "mentions", "title"),
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
        ("a #c+d", ["c+d", "c"], [], "a #c+d"),
        ("with @ann.lee", [], ["ann"], "with @ann.lee @ann"),
        ("with @ann.", [], ["ann", "ann.lee"], "with @ann. @ann.lee"),
        ("by @ann.lee.", [], ["Ann.Lee"], "by @ann.lee."),
        ("#cafe\u0301", ["cafe", "caf\u00e9"], [], "#cafe\u0301 #cafe"),
        ("#\u0915\u093f\u0924", ["\u0915"], [], "#\u0915\u093f\u0924 #\u0915"),
        ("(#fun) Hi,#sun!", ["fun", "sun"], [], "(#fun) Hi,#sun!"),
        ("#fun.", ["fun"], [], "#fun."),
        ("#" + "x" * 101, ["x" * 100], [], "#" + "x" * 101 + " #" + "x" * 100),
        ("#" + "x" * 100, ["X" * 100], [], "#" + "x" * 100),
        ("##a", ["a"], [], "##a"),
    ],
)
def test_join(text: str, hashtags: list[str], mentions: list[str], title: str) -> None:
    assert join_title(text, hashtags, mentions) == title


def test_joining_takes_time_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at the whole text for each tag: it runs beside the due loop, and a client chooses the sizes."""
    looks = 0
    ends = caption._ends

    def counted(mark: str, run: str, end: int) -> bool:
        nonlocal looks
        looks += 1
        return ends(mark, run, end)

    monkeypatch.setattr(caption, "_ends", counted)
    tags, names = [f"{n:02400}" for n in range(100)], [f"n{n:02400}" for n in range(100)]
    text = "#a.b " * 400
    assert len(join_title(text, tags, names)) > 400_000
    assert looks <= len(text)


@pytest.mark.parametrize(
    ("text", "units"), [("abc", 3), ("\u00e9", 1), ("e\u0301", 2), ("👍", 2), ("👨‍👩‍👧", 8), ("\ud800", 1)]
)
def test_units(text: str, units: int) -> None:
    assert utf16_units(text) == units
