"""Settings are checked before anything of a stack is touched: each program's own class, in exactly its environment."""

from pathlib import Path

import pytest

from localstack.blueprint import Blueprint
from localstack.errors import StackError
from localstack.launch import Spec
from localstack.paths import Paths
from localstack.service_environment import program_specs
from localstack.settings_check import require_settings, unchecked
from localstack.vault import load_secrets


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.create()
    return made


def specs_of(paths: Paths, **environment: str) -> list[Spec]:
    return program_specs(Blueprint(environment=environment), paths, load_secrets(paths))


def test_the_stacks_own_settings_are_good_and_not_checked_again(paths: Paths) -> None:
    specs = specs_of(paths)
    assert unchecked(paths, specs) == specs
    require_settings(paths, specs)
    assert unchecked(paths, specs) == []
    changed = specs_of(paths, COMMAND_TIMEOUT_SECONDS="6")
    assert [spec.name for spec in unchecked(paths, changed)] == ["gateway-1"]


@pytest.mark.parametrize(
    ("name", "value", "program"),
    [
        ("RATE_LIMIT_PER_USER", "gibberish", "gateway"),
        ("ENCRYPTION_KEY", "gibberish", "accounts"),
        ("SIMULATOR_DAILY_POSTS", "gibberish", "simulator"),
    ],
)
def test_a_bad_value_names_program_and_setting_and_never_the_value(paths: Paths, name: str, value: str, program: str) -> None:
    specs = specs_of(paths, **{name: value})
    with pytest.raises(StackError, match=rf"(?s){program}.*{name}") as caught:
        require_settings(paths, [spec for spec in specs if spec.name.startswith(program)])
    assert "gibberish" not in str(caught.value)
    assert unchecked(paths, specs) == specs, "what failed is checked again"
