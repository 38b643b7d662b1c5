"""The container files hang together: with each other, with the services' settings and with the workspace."""

import importlib.util
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from pydantic import ValidationError

from accounts.settings import Settings as AccountsSettings
from analytics.settings import Settings as AnalyticsSettings
from gateway.settings import Settings as GatewaySettings
from localstack.definitions import definitions
from localstack.errors import StackError
from localstack.setting_names import declared
from localstack.vault import DATABASE_OWNERS
from publisher.settings import Settings as PublisherSettings
from scheduler.settings import Settings as SchedulerSettings

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKER = CHECKOUT / "deploy/docker"


def script(name: str) -> ModuleType:
    """Load a file of deploy/docker, which is no package: the name belongs to another one."""
    spec = importlib.util.spec_from_file_location(f"container_{name}", DOCKER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


healthcheck, members, provision = script("healthcheck"), script("members"), script("provision")
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8"))
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS: dict[str, Any] = {
    "accounts": AccountsSettings,
    "analytics": AnalyticsSettings,
    "gateway": GatewaySettings,
    "publisher": PublisherSettings,
    "scheduler": SchedulerSettings,
}
PROVISIONING = {"provision", "audit-user"}
OF_THE_LOCAL_STACK = {"HTTP_SHARED_PORT"}
"""In containers each replica has an address of its own."""

PUBLISHED_PORTS = {"gateway", "simulator", "rabbitmq", "grafana"}
PROGRAMS = (*SETTINGS, "simulator")
DATABASES = tuple(sorted(set(SETTINGS) - {"gateway"}))


def default_of(text: str) -> str:
    """Return a value as compose gives it when `.env` says nothing."""
    plain = re.sub(r"\$\{[A-Z0-9_]+:-([^{}]*)\}", r"\1", str(text))
    return plain if plain == str(text) else default_of(plain)


def environment(container: str) -> dict[str, str]:
    return {name: default_of(value) for name, value in CONTAINERS[container].get("environment", {}).items()}


@pytest.fixture(scope="module")
def secrets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    provision.provision(folder)
    return folder


def refusals(compose: str) -> str:
    """Check a text against the Compose Specification's schema, as check-jsonschema carries it; returns what it says is wrong."""
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, "--verbose", "--default-filetype", "yaml", "-"]
    done = subprocess.run(command, input=compose, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout if done.returncode else ""


def test_the_compose_file_is_one_by_the_compose_specification() -> None:
    text = (CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8")
    assert refusals(text) == ""
    wrong = {
        "stop_grace_period: 90s": "stop_grace_perod: 90s",
        "simulator: {condition: service_healthy}": "simulator: {condition: up}",
    }
    for right, mistake in wrong.items():
        assert right in text
        text = text.replace(right, mistake)
    said = refusals(text)
    assert "'stop_grace_perod' was unexpected" in said
    assert "'up' is not one of" in said


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_given_exists_and_every_image_is_the_right_one(program: str) -> None:
    container = CONTAINERS[program]
    assert container["build"]["args"]["SERVICE"] == program
    assert (CHECKOUT / container["build"]["dockerfile"]).exists()
    assert (CHECKOUT / f"requirements/{program}.txt").exists()
    for name in environment(program):
        assert name.startswith("AWS_") or {name, name.removesuffix("_FILE")} & declared(program), name


@pytest.mark.parametrize("service", sorted(SETTINGS))
def test_every_setting_that_the_documents_name_can_be_given(service: str) -> None:
    told = "".join((CHECKOUT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("operations", "authentication"))
    words = {word.removesuffix("_FILE") for word in re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", told)}
    named = words & declared(service) - OF_THE_LOCAL_STACK
    given = {name.removesuffix("_FILE") for name in environment(service)}
    assert named
    assert named <= given


@pytest.mark.parametrize("service", sorted(SETTINGS))
def test_a_service_starts_with_what_compose_and_provision_give(
    service: str, secrets_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in declared(service):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(service).items():
        monkeypatch.setenv(name, value.replace("/run/cuepost", str(secrets_folder / service)))
    settings = SETTINGS[service]()
    assert settings.amqp_url.get_secret_value().startswith(f"amqp://{service}:")
    if service in DATABASES:
        assert settings.database_url.get_secret_value().endswith(f"@postgres:5432/{service}")
    assert settings.shutdown_grace_seconds < seconds(CONTAINERS[service]["stop_grace_period"])
    if "TIKTOK_CLIENT_SECRET" in environment(service):
        monkeypatch.setenv("TIKTOK_API_URL", "https://open.tiktokapis.com")
        with pytest.raises(ValidationError, match="TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET: the simulator's own"):
            SETTINGS[service]()


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def test_a_container_sees_its_own_secrets_only() -> None:
    for name, container in CONTAINERS.items():
        seen = {str(volume).split(":")[0] for volume in container.get("volumes", []) if "secrets-" in str(volume)}
        owner = name.removeprefix("migrate-")
        if name in PROVISIONING:
            assert seen == {volume for volume in COMPOSE["volumes"] if volume.startswith("secrets-")}
        elif name in {f"migrate-{service}" for service in DATABASE_OWNERS}:
            assert seen == {f"secrets-{owner}-owner"}
        else:
            assert seen <= {f"secrets-{owner}"}
    assert {name for name, c in CONTAINERS.items() if "vault:/secrets/vault" in c.get("volumes", [])} == PROVISIONING
    assert CONTAINERS["audit-user"]["profiles"], "it runs when it is asked for"


def test_every_secret_that_is_read_is_made(secrets_folder: Path) -> None:
    for name, container in CONTAINERS.items():
        folder = secrets_folder / name.removeprefix("migrate-")
        if name in {f"migrate-{service}" for service in DATABASE_OWNERS}:
            folder = folder.with_name(f"{folder.name}-owner")
        for value in container.get("environment", {}).values():
            if str(value).startswith("/run/cuepost/"):
                assert (folder / str(value).removeprefix("/run/cuepost/")).exists(), (name, value)
    made = re.search(r"for service in ([a-z ]+);", (DOCKER / "postgres/10-cuepost.sh").read_text(encoding="utf-8"))
    assert made is not None
    assert tuple(sorted(made[1].split())) == DATABASES
    roles = (*DATABASES, *DATABASE_OWNERS.values())
    assert all((secrets_folder / "postgres" / role).read_text(encoding="utf-8") for role in roles)


def test_secrets_are_made_once_and_fit_together(secrets_folder: Path) -> None:
    before = {path: path.read_bytes() for path in secrets_folder.rglob("*") if path.is_file()}
    provision.provision(secrets_folder)
    assert {path: path.read_bytes() for path in secrets_folder.rglob("*") if path.is_file()} == before
    vault = json.loads((secrets_folder / "vault/.local/secrets.json").read_text(encoding="utf-8"))
    stored = json.loads((secrets_folder / "rabbitmq/definitions.json").read_text(encoding="utf-8"))
    assert stored == definitions(vault["rabbitmq"])
    assert (secrets_folder / "storage/rpc_secret").stat().st_mode & 0o777 == 0o400
    assert vault["rabbitmq"]["audit"] in provision.audit_url(secrets_folder, 5690)


def test_a_consumer_of_its_own_is_made_once_told_of_before_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell = Mock(side_effect=[StackError("not confirmed"), None])
    monkeypatch.setattr(provision, "tell_of_consumer", tell)

    def run(user: str) -> str:
        monkeypatch.setattr(sys, "argv", ["provision.py", str(tmp_path), user])
        provision.main()
        return capsys.readouterr().out

    for user, reason in (("audit-datateam", "not confirmed"), ("scheduler", "audit-NAME")):
        with pytest.raises(SystemExit, match=reason):
            run(user)
    provision.provision(tmp_path)
    definitions_file = tmp_path / "rabbitmq/definitions.json"
    assert "audit-datateam" not in definitions_file.read_text(encoding="utf-8")
    address = run("audit-datateam")
    assert address.startswith("amqp://audit-datateam:")
    assert run("audit-datateam") == address
    assert tell.call_count == 2
    stored = json.loads(definitions_file.read_text(encoding="utf-8"))
    assert "audit-datateam" in {user["name"] for user in stored["users"]}


def test_nothing_is_published_beyond_this_machine_and_publishers_can_be_many() -> None:
    for name, container in CONTAINERS.items():
        assert "container_name" not in container, name
        for port in container.get("ports", []):
            assert default_of(port).startswith("127.0.0.1:"), name
    assert {name for name, container in CONTAINERS.items() if "ports" in container} == PUBLISHED_PORTS
    assert "ports" not in CONTAINERS["publisher"]
    assert "SERVICE_INSTANCE" not in environment("publisher")


def test_every_variable_of_the_compose_file_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", (CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8")))
    told = re.findall(r"^#?([A-Z0-9_]+)=", (DOCKER / "env.example").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert used == set(told)


def test_nothing_starts_before_what_it_needs() -> None:
    for service in SETTINGS:
        needs = {name: need["condition"] for name, need in CONTAINERS[service]["depends_on"].items()}
        assert needs["rabbitmq"] == "service_healthy"
        if service in DATABASES:
            assert needs[f"migrate-{service}"] == "service_completed_successfully"
            assert CONTAINERS[f"migrate-{service}"]["command"] == ["python", "-m", "common.database.migrate", service]
        if "STORAGE_URL" in environment(service):
            assert needs["storage"] == "service_healthy"
    for name, container in CONTAINERS.items():
        for need, how in container.get("depends_on", {}).items():
            one_shot = CONTAINERS[need].get("restart") == "no"
            assert how["condition"] == ("service_completed_successfully" if one_shot else "service_healthy"), (name, need)
            if not one_shot and "image" in CONTAINERS[need]:
                assert CONTAINERS[need]["healthcheck"]["test"], need


def test_only_those_who_need_a_network_are_on_it() -> None:
    def on(network: str) -> set[str]:
        return {name for name, container in CONTAINERS.items() if network in container.get("networks", ["default"])}

    assert on("database") == {"postgres", *DATABASES, *(f"migrate-{service}" for service in DATABASES)}
    assert on("storage") == {"storage", "gateway", "scheduler", "publisher"}
    assert on("limits") == {"limits", "gateway"}
    assert on("monitoring") == {"prometheus", "grafana"}
    assert "grafana" not in on("default")
    assert COMPOSE["networks"]["limits"]["internal"]
    assert environment("gateway")["RATE_LIMIT_STORAGE"] == "valkey://limits:6379"
    default = GatewaySettings.model_fields["rate_limit_per_user"].default
    assert environment("gateway")["RATE_LIMIT_PER_USER"] == default == "100/minute"
    assert COMPOSE["networks"]["database"]["internal"]
    assert COMPOSE["networks"]["storage"]["internal"]


def test_what_is_mounted_from_the_checkout_exists_and_goes_nowhere_else() -> None:
    for container in CONTAINERS.values():
        for volume in container.get("volumes", []):
            source, _, rest = str(volume).partition(":")
            if source.startswith("./"):
                assert (CHECKOUT / source).exists(), source
                assert rest.endswith(":ro"), source
            elif rest:
                assert source in COMPOSE["volumes"], source


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("gateway", ["libs/common", "libs/tiktok", "services/gateway"]),
        ("accounts", ["libs/common", "libs/tiktok", "services/accounts"]),
        ("publisher", ["libs/common", "libs/tiktok", "services/publisher"]),
        ("analytics", ["libs/common", "libs/tiktok", "services/analytics"]),
        ("simulator", ["libs/tiktok_simulator"]),
    ],
)
def test_an_image_holds_the_members_its_program_needs(program: str, expected: list[str]) -> None:
    assert [str(path.relative_to(CHECKOUT)) for path in members.members_of(CHECKOUT, program)] == expected


def test_an_unknown_program_is_refused() -> None:
    with pytest.raises(LookupError, match="nothing"):
        members.members_of(CHECKOUT, "nothing")
    with pytest.raises(LookupError):
        members.members_of(CHECKOUT, "")


def test_the_launcher_becomes_the_service(tmp_path: Path) -> None:
    assert members.launcher("simulator").endswith('exec python -m tiktok_simulator "$@"\n')
    (tmp_path / "python").write_text('#!/bin/sh\necho "$$ $@"\n', encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "launch").write_text(members.launcher("analytics"), encoding="utf-8")
    started = subprocess.Popen(
        ["/bin/sh", str(tmp_path / "launch"), "x"], env={"PATH": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    output, _ = started.communicate(timeout=10)
    assert output.split() == [str(started.pid), "-m", "analytics", "x"]


def test_the_image_is_checked_by_asking_the_service() -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert healthcheck.answers(server.server_port, "/readyz")
        assert not healthcheck.answers(server.server_port, "/other")
        server.shutdown()
    assert not healthcheck.answers(server.server_port, "/readyz")


def test_the_builder_gets_what_the_image_is_made_of() -> None:
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    recipe = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(\S+) ", recipe, flags=re.MULTILINE)
    assert "*" in ignored
    assert copied
    for source in copied:
        assert any(source == path or source.startswith(f"{path}/") for path in allowed), source
    assert "requirements/tools.txt" in copied
    installs = re.findall(r"pip install (?:(?!&&|\nRUN)[^\n]|\n(?=  ))*", recipe)
    assert installs
    assert all("--require-hashes" in install or "--no-deps --no-sources" in install for install in installs), installs
    assert re.search(r"^USER 10001:10001$", recipe, flags=re.MULTILINE)
