"""Which video a post is: only what is certain counts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from publisher.domain.following import Seen
from publisher.domain.job import Transfer
from publisher.domain.matching import (
    CLOCKS_DIFFER,
    PUBLISHED_WITHIN,
    Candidate,
    Finding,
    Wanted,
    contradicts,
    find,
    resembles,
    seen_far_enough,
)
from publisher.domain.outcomes import Identified, Succeed
from publisher.domain.watching import Question, found, leaves_open, possible_reason

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
JOB = UUID(int=1)
LONG = "A caption that goes on and on " * 10


def wanted(*captions: str, duration_ms: int | None = 10_000, at: datetime = NOW) -> Wanted:
    return Wanted(JOB, captions or ("Launch day #fun",), duration_ms, at)


def video(number: int = 7, **changes: object) -> Candidate:
    fields: dict[str, object] = {"created_at": NOW, "texts": ("Launch day #fun",), "duration": 10}
    return Candidate(str(number), **(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "is_it"),
    [
        ({}, True),
        ({"created_at": NOW - CLOCKS_DIFFER}, True),
        ({"created_at": NOW - CLOCKS_DIFFER - SECOND}, False),
        ({"created_at": NOW + PUBLISHED_WITHIN}, True),
        ({"created_at": NOW + PUBLISHED_WITHIN + SECOND}, False),
        ({"created_at": None}, False),
        ({"duration": 9}, True),
        ({"duration": 11}, True),
        ({"duration": 12}, False),
        ({"duration": None}, True),
        ({"duration": 0}, True),
        ({"texts": ("Launch day", "Launch  day\n#fun")}, True),
        ({"texts": ("Launch day",)}, False),
        ({"texts": ("launch day #fun",)}, False),
        ({"texts": ()}, False),
        ({"texts": ("",)}, False),
    ],
)
def test_what_resembles_a_post(changes: dict[str, object], is_it: bool) -> None:
    assert resembles(wanted(), video(**changes)) is is_it


def test_captions_that_tiktok_cuts_off() -> None:
    for shown in (LONG[:150], LONG[:149] + "…", LONG[:147] + "...", LONG[:100].rstrip() + " "):
        assert resembles(wanted(LONG), video(texts=(shown,))) is (len(shown.rstrip(" .…")) >= 100)
    assert not resembles(wanted(LONG), video(texts=(LONG[:60],)))
    assert not resembles(wanted(LONG), video(texts=("x" + LONG[:149],)))


def test_accents_however_they_are_written() -> None:
    assert resembles(wanted("Caf\u00e9"), video(texts=("Cafe\u0301",)))


def test_a_length_that_is_not_known_is_not_compared() -> None:
    assert resembles(wanted(duration_ms=None), video(duration=999))


@pytest.mark.parametrize("captions", [("",), ("  ",)])
def test_without_a_caption_nothing_is_certain(captions: tuple[str, ...]) -> None:
    assert not resembles(wanted(*captions), video(texts=("",)))


def test_only_one_that_is_nobody_elses_is_certain() -> None:
    one, other = video(7), video(8)
    rival = wanted()
    assert find(wanted(), [one, video(9, texts=("x",))], rivals=(), taken=(), is_whole=True) == Finding((one,), one)
    assert find(wanted(), [one, other], rivals=(), taken=(), is_whole=True) == Finding((one, other))
    assert find(wanted(), [one, other], rivals=(), taken={"8"}, is_whole=True) == Finding((one,), one)
    assert find(wanted(), [one], rivals=[rival], taken=(), is_whole=True) == Finding((one,))
    assert find(wanted(), [one], rivals=[wanted("x")], taken=(), is_whole=True) == Finding((one,), one)
    assert find(wanted(), [one], rivals=(), taken=(), is_whole=False) == Finding((one,))
    assert find(wanted(), [one], rivals=(), taken={"7"}, is_whole=True) == find(
        wanted(), [], rivals=(), taken=(), is_whole=True
    )


def test_how_far_back_the_list_is_read() -> None:
    assert seen_far_enough(wanted(), video(created_at=NOW - CLOCKS_DIFFER - SECOND))
    assert not seen_far_enough(wanted(), video(created_at=NOW - CLOCKS_DIFFER))
    assert not seen_far_enough(wanted(), video(created_at=None))


def test_what_a_finding_settles() -> None:
    certain = Finding((video(),), video())
    assert found(Question.OUTCOME, certain) == Succeed("published", ("7",), evidence="video_list", at=NOW)
    assert found(Question.VIDEO_ID, certain) == Identified("7", "video_list")
    assert found(Question.OUTCOME, Finding((video(),))) is None
    assert found(Question.OUTCOME, None) is None
    assert found(Question.CONTRADICTION, certain) is None


def test_what_was_found_is_told() -> None:
    assert possible_reason(None) is None
    assert possible_reason(Finding()) is None
    one, many = possible_reason(Finding((video(),))), possible_reason(Finding(tuple(video(n) for n in range(1, 9))))
    assert one is not None
    assert many is not None
    assert "A video on the profile looks like it, but that is not certain: 7." in one.message
    assert "8 videos on the profile look like it, but that is not certain: 1, 2, 3, 4, 5." in many.message


def test_when_the_list_is_asked() -> None:
    done, processing, failed = Seen("PUBLISH_COMPLETE"), Seen("PROCESSING_UPLOAD"), Seen("FAILED")
    assert [leaves_open(Question.OUTCOME, seen) for seen in (None, processing, done)] == [True, True, False]
    named = Seen("PUBLISH_COMPLETE", ("7",))
    assert [leaves_open(Question.VIDEO_ID, seen) for seen in (None, done, named)] == [True, True, False]
    assert not leaves_open(Question.POSTED, None)
    assert [leaves_open(Question.CONTRADICTION, seen) for seen in (None, failed, done)] == [True, True, False]


@pytest.mark.parametrize(
    ("publish_id", "fits"),
    [
        ("v_pub_url~v2-1.7", (Transfer.PULL, "direct")),
        ("v_inbox_url~v2.7", (Transfer.PULL, "inbox")),
        ("v_pub_file~v2-1.7", (Transfer.FILE, "direct")),
        ("v_inbox_file~v2.7", (Transfer.FILE, "inbox")),
    ],
)
def test_the_id_of_a_publication_tells_its_kind(publish_id: str, fits: tuple[Transfer, str]) -> None:
    kinds = [(transfer, mode) for transfer in Transfer for mode in ("direct", "inbox")]
    assert [kind for kind in kinds if not contradicts(publish_id, *kind)] == [fits]
    assert {transfer for transfer, mode in kinds if not contradicts("p_pub_url~v2.7", transfer, mode)} == {Transfer.PHOTO}
    assert not any(contradicts("x_new~v9.7", *kind) for kind in kinds)
