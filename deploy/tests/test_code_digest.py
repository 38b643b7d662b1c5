"""A program is told apart by the code it runs: changed code is a changed program, foreign code is not."""

from pathlib import Path

import pytest

from localstack import code_digest
from localstack.blueprint import Blueprint
from localstack.code_digest import TIKTOK_SERVICES, code_of
from localstack.launch import Spec
from localstack.paths import CHECKOUT, Paths
from localstack.ports import SERVICES
from localstack.service_environment import program_specs
from localstack.stack import Stack
from localstack.startup import Startup
from localstack.supervision import Supervisor
from localstack.vault import load_secrets

PROGRAMS = (*SERVICES, "simulator")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    members = [("libs", name) for name in ("common", "tiktok", "tiktok_simulator")]
    for kind, name in [*members, *(("services", name) for name in SERVICES)]:
        folder = tmp_path / kind / name / "src" / name
        folder.mkdir(parents=True)
        (folder / "app.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(code_digest, "CHECKOUT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "programs"),
    [
        ("services/publisher/src/publisher/app.py", {"publisher"}),
        ("libs/common/src/common/app.py", set(SERVICES)),
        ("libs/tiktok/src/tiktok/app.py", {"gateway", "accounts", "publisher", "analytics"}),
        ("libs/tiktok_simulator/src/tiktok_simulator/app.py", {"simulator"}),
        ("services/publisher/README.py", set()),
    ],
)
def test_changed_code_changes_those_who_run_it_and_no_others(checkout: Path, changed: str, programs: set[str]) -> None:
    before = {program: code_of(program) for program in PROGRAMS}
    assert {program: code_of(program) for program in PROGRAMS} == before
    (checkout / changed).write_text("x = 2\n", encoding="utf-8")
    assert {program for program in PROGRAMS if code_of(program) != before[program]} == programs


def test_a_new_file_and_a_renamed_one_count(checkout: Path) -> None:
    folder = checkout / "services/gateway/src/gateway"
    digests = [code_of("gateway")]
    (folder / "more.py").write_text("", encoding="utf-8")
    digests.append(code_of("gateway"))
    (folder / "more.py").rename(folder / "other.py")
    digests.append(code_of("gateway"))
    assert len(set(digests)) == 3
    assert all(len(digest) == 12 for digest in digests)


def test_every_spec_carries_its_code(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.create()
    secrets = load_secrets(paths)
    specs = program_specs(Blueprint().scaled("publisher", 3), paths, secrets)
    assert {spec.env["CUEPOST_CODE"] for spec in specs if spec.name.startswith("publisher")} == {code_of("publisher")}
    assert all(len(spec.env["CUEPOST_CODE"]) == 12 for spec in specs)


def test_scaling_leaves_programs_of_older_code_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path)
    paths.create()
    old = program_specs(Blueprint(), paths, load_secrets(paths))
    servers = [Spec(name, ["/bin/true"], {}, "/", str(paths.run)) for name in ("postgres", "epmd", "rabbitmq")]
    Supervisor(paths).configure([*servers, *old])
    told: list[Spec] = []
    monkeypatch.setattr(Supervisor, "alive", lambda _self: True)
    monkeypatch.setattr(Supervisor, "states", lambda _self: {})
    monkeypatch.setattr(Supervisor, "update", lambda _self, specs: told.extend(specs))
    monkeypatch.setattr(Startup, "start_all", lambda _self, _names: None)
    monkeypatch.setattr("localstack.service_environment.code_of", lambda _program: "newnewnewnew")
    monkeypatch.setattr("localstack.stack.require_free", lambda _needed, _ports: None)
    Stack(tmp_path).scale("publisher", 2)
    codes = {spec.name: spec.env.get("CUEPOST_CODE") for spec in told}
    assert codes.pop("publisher-2") == "newnewnewnew"
    assert codes == {spec.name: spec.env.get("CUEPOST_CODE") for spec in [*servers, *old]}


def test_who_imports_the_tiktok_library_is_as_their_projects_say() -> None:
    projects = {name: (CHECKOUT / f"services/{name}/pyproject.toml").read_text(encoding="utf-8") for name in SERVICES}
    assert sorted(name for name, text in projects.items() if "cuepost-tiktok" in text) == sorted(TIKTOK_SERVICES)
