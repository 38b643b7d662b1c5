"""Blocks of ports for stacks that run beside others."""

import secrets
from collections.abc import Iterator

import pytest

from localstack.errors import StackError
from localstack.ports import Ports


def _draw(monkeypatch: pytest.MonkeyPatch, numbers: Iterator[int]) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(numbers))


def test_who_draws_the_same_block_at_the_same_moment_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Ports.free().gateway
    drawn = (block - 10_000) // 100
    others = (number for number in range(220) if number != drawn)
    _draw(monkeypatch, (number for pair in zip([drawn] * 219, others, strict=False) for number in pair))
    assert Ports.free().gateway != block


def test_without_a_free_block_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = (Ports.free().gateway - 10_000) // 100
    monkeypatch.setattr(secrets, "randbelow", lambda _: drawn)
    with pytest.raises(StackError, match="no free block"):
        Ports.free()
