"""Any JSON becomes storable JSON."""

import math

from hypothesis import given
from hypothesis import strategies as st

from analytics.domain.storable import storable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def flat(value: object) -> list[object]:
    match value:
        case dict():
            return [part for pair in value.items() for item in pair for part in flat(item)]
        case list():
            return [part for item in value for part in flat(item)]
        case _:
            return [value]


@given(JSON)
def test_nothing_is_left_that_postgresql_refuses(value: object) -> None:
    for part in flat(storable(value)):
        assert not (isinstance(part, str) and "\x00" in part)
        assert not (isinstance(part, float) and not math.isfinite(part))


def test_the_rest_stays_as_it_is() -> None:
    value = {"a": [1, True, None, 1.5, "x", {"b": 2**63 - 1}]}
    assert storable(value) == value
    assert storable([math.nan, -math.inf, "a\x00b", 2**80, -(2**80)]) == [None, None, "a\ufffdb", str(2**80), str(-(2**80))]
