"""What a stack is told and what it tells its processes: addresses, overrides, least environment."""

import json
import socket
import stat
from pathlib import Path

import pytest

from localstack.blueprint import Blueprint, listening_ports, overrides
from localstack.errors import StackError
from localstack.launch import Spec, drop_stale_postmaster_pid, read_spec
from localstack.paths import Paths
from localstack.ports import MAX_REPLICAS, MAX_REPLICAS_DEFAULT, SERVICES, Ports, is_busy, require_free
from localstack.postgres import provisioning
from localstack.postgres_place import outside_folder
from localstack.service_environment import program_environment, program_specs
from localstack.setting_names import declared
from localstack.supervision import Supervisor
from localstack.vault import DATABASE_OWNERS, DATABASE_SERVICES, load_secrets


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.create()
    return made


def test_default_addresses_are_the_documented_ones() -> None:
    ports = Ports()
    assert (ports.gateway, ports.simulator, ports.amqp, ports.postgres) == (8400, 8490, 5690, 5490)
    assert {s: ports.http(s, 1) for s in SERVICES} == {
        "gateway": 8400,
        "accounts": 8401,
        "scheduler": 8402,
        "analytics": 8403,
        "publisher": 8411,
    }


@pytest.mark.parametrize("ports", [Ports(), Ports.free()])
def test_no_two_processes_share_a_port(ports: Ports) -> None:
    used = [ports.simulator, ports.amqp, ports.postgres, ports.epmd, ports.distribution]
    for service in SERVICES:
        replicas = range(1, MAX_REPLICAS.get(service, MAX_REPLICAS_DEFAULT) + 1)
        used += [ports.http(service, replica) for replica in replicas]
        used += [ports.together(service)] if service != "gateway" else []
    assert len(used) == len(set(used))


def test_addresses_come_from_the_environment() -> None:
    ports = Ports.from_environment({"GATEWAY_ADDRESS": "0.0.0.0:9000", "AMQP_ADDRESS": "5691", "HOME": "/x"}, Ports())
    assert (ports.host, ports.gateway, ports.amqp, ports.gateway_host) == ("0.0.0.0", 9000, 5691, "127.0.0.1")


@pytest.mark.parametrize("text", ["nonsense", "127.0.0.1:", "70000", "10.0.0.1:5690"])
def test_an_address_that_is_none_names_the_setting(text: str) -> None:
    with pytest.raises(StackError, match="AMQP_ADDRESS"):
        Ports.from_environment({"AMQP_ADDRESS": text}, Ports())


def test_a_busy_port_is_named_with_the_setting_that_moves_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert is_busy(port)
        with pytest.raises(StackError, match=rf"(?s)port {port} \(PostgreSQL\).*POSTGRES_ADDRESS=5590 make up"):
            require_free({"PostgreSQL": (port, "postgres"), "RabbitMQ": (Ports.free().amqp, "amqp")}, Ports())


def test_names_of_settings_are_read_from_the_sources() -> None:
    assert {"AMQP_URL", "HTTP_PORT", "OPERATION_KEY"} <= declared("gateway")
    assert "OPERATION_KEY" not in declared("analytics")
    assert "SIMULATOR_STATE_FILE" in declared("simulator")


def test_only_settings_are_taken_from_the_shell() -> None:
    given = {"LOG_LEVEL": "DEBUG", "ENCRYPTION_KEY_FILE": "/k", "AWS_REGION": "x", "EDITOR": "vi", "DATABASE_URL": "no"}
    assert overrides(given) == {"LOG_LEVEL": "DEBUG", "ENCRYPTION_KEY_FILE": "/k", "AWS_REGION": "x"}


@pytest.mark.parametrize(
    ("given", "other"),
    [
        ({"GATEWAY_ADDRESS": "127.0.0.1:8490"}, "SIMULATOR_ADDRESS"),
        ({"GATEWAY_ADDRESS": "8402"}, "INTERNAL_PORT"),
        ({"GATEWAY_ADDRESS": "7000", "EPMD_PORT": "8000"}, "EPMD_PORT"),
        ({"GATEWAY_ADDRESS": "5690"}, "AMQP_ADDRESS"),
    ],
)
def test_own_ports_that_collide_are_refused_naming_both_settings(given: dict[str, str], other: str) -> None:
    with pytest.raises(StackError, match=rf"(GATEWAY_ADDRESS.*{other}|{other}.*GATEWAY_ADDRESS)"):
        Blueprint.from_environment(given, None, running=False)


def test_a_replica_does_not_take_another_ones_port() -> None:
    blueprint = Blueprint.from_environment({"SIMULATOR_ADDRESS": "8412"}, None, running=False)
    with pytest.raises(StackError, match=r"(?s)SIMULATOR_ADDRESS.*INTERNAL_PORT.*8412"):
        blueprint.scaled("publisher", 2)


def test_an_empty_value_counts_as_not_set(paths: Paths) -> None:
    assert overrides({"ENCRYPTION_KEY": "", "ENCRYPTION_KEY_FILE": "", "AWS_REGION": "", "LOG_LEVEL": "INFO"}) == {
        "LOG_LEVEL": "INFO"
    }
    secrets = load_secrets(paths)
    stored = Blueprint(environment={"ENCRYPTION_KEY": "", "TIKTOK_CLIENT_SECRET_FILE": ""})
    accounts = program_environment(stored, paths, secrets, "accounts")
    assert Path(accounts["ENCRYPTION_KEY_FILE"]).read_text(encoding="utf-8").strip() == secrets["encryption_key"]
    assert accounts["TIKTOK_CLIENT_SECRET"] == secrets["tiktok_client_secret"]
    assert "TIKTOK_CLIENT_SECRET_FILE" not in accounts


def test_a_secret_reaches_only_the_service_that_declares_it(paths: Paths) -> None:
    secrets = load_secrets(paths)
    file = str(paths.encryption_key)
    holders = [s for s in SERVICES if file in program_environment(Blueprint(), paths, secrets, s).values()]
    assert holders == ["accounts"]
    for service in SERVICES:
        values = json.dumps(program_environment(Blueprint(), paths, secrets, service))
        foreign = [s for s in SERVICES if s != service and secrets["service_keys"][s]["private"] in values]
        assert foreign == []
        assert secrets["rabbitmq"]["admin"] not in values
        assert not [role for role in ("postgres", *DATABASE_OWNERS.values()) if secrets["postgres"][role] in values]


def test_what_the_operator_sets_wins_and_files_replace_made_secrets(paths: Paths) -> None:
    blueprint = Blueprint(
        environment={"LOG_LEVEL": "DEBUG", "ENCRYPTION_KEY_FILE": "/k", "HTTP_PORT": "1"},
        service_environment={"accounts": {"JWT_ISSUER": "other"}},
    )
    environment = program_environment(blueprint, paths, load_secrets(paths), "accounts")
    assert environment["LOG_LEVEL"] == "DEBUG"
    assert environment["JWT_ISSUER"] == "other"
    assert environment["HTTP_PORT"] == "8401"
    assert "ENCRYPTION_KEY" not in environment
    assert environment["ENCRYPTION_KEY_FILE"] == "/k"
    given = program_environment(Blueprint(environment={"ENCRYPTION_KEY": "k"}), paths, load_secrets(paths), "accounts")
    assert given["ENCRYPTION_KEY"] == "k"
    assert "ENCRYPTION_KEY_FILE" not in given, "the stack's own file is not followed then"


def test_simulator_gateway_and_accounts_agree_on_the_client(paths: Paths) -> None:
    secrets = load_secrets(paths)
    accounts = program_environment(Blueprint(), paths, secrets, "accounts")
    simulator = program_environment(Blueprint(), paths, secrets, "simulator")
    assert accounts["TIKTOK_CLIENT_KEY"] == simulator["SIMULATOR_CLIENT_KEY"]
    assert accounts["TIKTOK_CLIENT_SECRET"] == simulator["SIMULATOR_CLIENT_SECRET"]
    assert accounts["TIKTOK_REDIRECT_URI"] == simulator["SIMULATOR_REDIRECT_URIS"]
    gateway = program_environment(Blueprint(), paths, secrets, "gateway")
    assert gateway["TIKTOK_CLIENT_KEY"] == simulator["SIMULATOR_CLIENT_KEY"]
    assert gateway["TIKTOK_CLIENT_SECRET"] == simulator["SIMULATOR_CLIENT_SECRET"]
    assert simulator["SIMULATOR_WEBHOOK_URL"] == "http://127.0.0.1:8400/api/v1/webhooks/tiktok"


def test_with_both_addresses_of_tiktok_no_simulator_runs(paths: Paths) -> None:
    urls = {"TIKTOK_API_URL": "http://127.0.0.1:1", "TIKTOK_AUTHORIZE_URL": "http://127.0.0.1:1/a"}
    blueprint = Blueprint(environment=urls)
    assert "simulator" not in [spec.name for spec in program_specs(blueprint, paths, load_secrets(paths))]
    with pytest.raises(StackError, match="both"):
        Blueprint(environment={"TIKTOK_API_URL": "http://127.0.0.1:1"})
    real = {"TIKTOK_API_URL": "https://open.tiktokapis.com", "TIKTOK_AUTHORIZE_URL": "https://x"}
    with pytest.raises(StackError, match="needs TIKTOK_CLIENT_SECRET"):
        Blueprint(environment={**real, "TIKTOK_CLIENT_KEY": "k"})
    Blueprint(environment={**real, "TIKTOK_CLIENT_KEY": "k", "TIKTOK_CLIENT_SECRET_FILE": "/s"})
    Blueprint(environment={**real, "TIKTOK_API_URL": "https://nottiktok.com"})


def test_replicas_are_programs_of_their_own(paths: Paths) -> None:
    blueprint = Blueprint().scaled("publisher", 3)
    assert [n for n in blueprint.programs() if n.startswith("publisher")] == [f"publisher-{i}" for i in (1, 2, 3)]
    specs = {spec.name: spec for spec in program_specs(blueprint, paths, load_secrets(paths))}
    assert len({specs[f"publisher-{i}"].env["HTTP_PORT"] for i in (1, 2, 3)}) == 3
    for service, count in (("publisher", 0), ("publisher", 99), ("nobody", 1)):
        with pytest.raises(StackError):
            blueprint.scaled(service, count)


def test_the_blueprint_survives_the_state_file_privately(paths: Paths) -> None:
    blueprint = Blueprint(ports=Ports.free(), environment={"TIKTOK_CLIENT_SECRET": "s"}).scaled("publisher", 2)
    assert Blueprint.load(paths) is None
    blueprint.save(paths)
    assert Blueprint.load(paths) == blueprint
    assert stat.S_IMODE(paths.state.stat().st_mode) == 0o600


def test_a_running_stack_keeps_its_settings_and_a_stopped_one_only_its_replicas() -> None:
    before = Blueprint(ports=Ports.free(), environment={"LOG_LEVEL": "DEBUG"}).scaled("publisher", 2)
    stopped = Blueprint.from_environment({}, before, running=False)
    assert (stopped.replicas, stopped.environment, stopped.ports) == ({"publisher": 2}, {}, Ports())
    assert Blueprint.from_environment({}, before, running=True) == before
    changed = Blueprint.from_environment({"LOG_LEVEL": "INFO", "AMQP_ADDRESS": "5777"}, before, running=True)
    assert changed.environment == {"LOG_LEVEL": "INFO"}
    assert (changed.ports.amqp, changed.ports.gateway) == (5777, before.ports.gateway)


def test_every_program_says_where_it_listens() -> None:
    blueprint = Blueprint().scaled("publisher", 2)
    listening = listening_ports(blueprint)
    assert list(listening) == blueprint.programs()
    held = {(what, port) for entries in listening.values() for what, (port, _) in entries.items()}
    assert len(held) == len({port for _, port in held}), "replicas share one port with each other, and no other"
    assert listening["publisher-1"]["publisher, all replicas"] == listening["publisher-2"]["publisher, all replicas"]


def test_secrets_are_made_once_and_private(paths: Paths) -> None:
    first = load_secrets(paths)
    assert load_secrets(paths) == first
    assert stat.S_IMODE(paths.secrets.stat().st_mode) == 0o600
    del first["postgres"]["scheduler"]
    paths.secrets.write_text(json.dumps(first), encoding="utf-8")
    healed = load_secrets(paths)
    assert healed["postgres"]["scheduler"]
    assert healed["postgres"]["accounts"] == first["postgres"]["accounts"]


def test_no_secret_stands_in_supervisors_configuration(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "100% odd")
    paths.create()
    secrets = load_secrets(paths)
    Supervisor(paths).configure(program_specs(Blueprint(), paths, secrets))
    text = (paths.run / "supervisord.conf").read_text(encoding="utf-8")
    assert "100%% odd" in text
    assert secrets["encryption_key"] not in text
    assert "postgresql://" not in text
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths.programs.iterdir()} == {0o600}


def test_specs_of_programs_that_left_are_removed(paths: Paths) -> None:
    supervisor = Supervisor(paths)
    secrets = load_secrets(paths)
    supervisor.configure(program_specs(Blueprint().scaled("publisher", 2), paths, secrets))
    assert supervisor.known_spec("publisher-2").name == "publisher-2"
    supervisor.configure(program_specs(Blueprint(), paths, secrets))
    assert not (paths.programs / "publisher-2.json").exists()


def test_a_spec_survives_its_file(paths: Paths) -> None:
    spec = Spec("x", ["/bin/true"], {"A": "b"}, "/", str(paths.run), 1, 2, "/p")
    assert read_spec(spec.write(paths.programs)) == spec


def test_a_postmaster_pid_of_a_stranger_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "postmaster.pid"
    file.write_text("1\n/data\n", encoding="utf-8")
    drop_stale_postmaster_pid(file)
    assert not file.exists()
    drop_stale_postmaster_pid(file)


def test_provisioning_keeps_databases_that_exist() -> None:
    passwords = dict.fromkeys(("postgres", *DATABASE_SERVICES, *DATABASE_OWNERS.values()), "p")
    statements = provisioning(passwords, {"accounts", "scheduler"})
    assert not [s for s in statements if "DROP" in s and ("accounts" in s or "scheduler" in s)]
    assert "CREATE DATABASE publisher OWNER publisher" in statements


def test_the_folder_outside_is_told_by_the_path(tmp_path: Path) -> None:
    folder = outside_folder(tmp_path)
    assert folder.parent == Path("/var/lib/cuepost")
    assert len(folder.name) == 12
    assert folder != outside_folder(tmp_path / "other")


@pytest.mark.parametrize("value", ["true", "True", "1", "on"])
def test_https_cannot_be_required_where_nothing_ends_it(value: str) -> None:
    with pytest.raises(StackError, match="nothing in front of its gateway ends HTTPS"):
        Blueprint.from_environment({"REQUIRE_HTTPS": value}, None, running=False)
    Blueprint.from_environment({"REQUIRE_HTTPS": "false"}, None, running=False)


def test_a_requirement_of_https_that_was_stored_before_does_not_stay() -> None:
    before = Blueprint(environment={"REQUIRE_HTTPS": "true", "LEASE_SECONDS": "20"})
    assert Blueprint.from_environment({}, before, running=True).environment == {"LEASE_SECONDS": "20"}
