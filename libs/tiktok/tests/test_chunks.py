import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok.chunks import MAX_VIDEO_BYTES, ChunkPlan, ChunkRange, plan_chunks


@pytest.mark.parametrize(
    ("size", "chunk_size", "count", "last_range"),
    [
        (1, 1, 1, (0, 0)),
        (3_145_728, 3_145_728, 1, (0, 3_145_727)),
        (64_000_000, 64_000_000, 1, (0, 63_999_999)),
        (64_000_001, 10_000_000, 6, (50_000_000, 64_000_000)),
        (66_000_000, 10_000_000, 6, (50_000_000, 65_999_999)),
        (127_999_999, 10_000_000, 12, (110_000_000, 127_999_998)),
        (150_000_000, 10_000_000, 15, (140_000_000, 149_999_999)),
        (4_294_967_296, 10_000_000, 429, (4_280_000_000, 4_294_967_295)),
    ],
)
def test_table_of_the_reference(size: int, chunk_size: int, count: int, last_range: tuple[int, int]) -> None:
    plan = plan_chunks(size)
    assert (plan.size, plan.chunk_size, plan.count) == (size, chunk_size, count)
    last = plan.ranges[-1]
    assert (last.first, last.last) == last_range


def test_the_documents_own_sample() -> None:
    plan = ChunkPlan(50_000_123, 10_000_000, 5)
    assert plan.ranges[-1] == ChunkRange(4, 40_000_000, 50_000_122)


@given(st.integers(1, MAX_VIDEO_BYTES))
def test_every_plan_obeys_both_readings_of_a_megabyte(size: int) -> None:
    plan = plan_chunks(size)
    assert 1 <= plan.count <= 1000
    if plan.count == 1:
        assert plan.chunk_size == size <= 64_000_000
    else:
        assert plan.count == size // plan.chunk_size
        assert 5 * 1024**2 <= plan.chunk_size <= 64_000_000
        assert plan.ranges[-1].length < 2 * plan.chunk_size


@given(st.integers(1, 300_000_000), st.floats(0, 1))
def test_what_is_left_follows_on_without_gap(size: int, part: float) -> None:
    plan = plan_chunks(size)
    offset = int(size * part)
    at = offset
    for piece in plan.chunks_from(offset):
        assert piece.first == at
        assert piece.last == plan.chunk(piece.index).last
        at = piece.last + 1
    assert at == size


@pytest.mark.parametrize("size", [0, -1, MAX_VIDEO_BYTES + 1])
def test_sizes_that_tiktok_does_not_take(size: int) -> None:
    with pytest.raises(ValueError, match="TikTok takes files"):
        plan_chunks(size)


def test_positions_outside_the_file() -> None:
    plan = plan_chunks(100)
    assert list(plan.chunks_from(100)) == []
    with pytest.raises(ValueError, match="offset 101"):
        list(plan.chunks_from(101))
    with pytest.raises(IndexError):
        plan.chunk(1)
