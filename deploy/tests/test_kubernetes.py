"""The manifests fit the services: settings, ports, secrets, and the time in which they end."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from accounts.settings import Settings as AccountsSettings
from analytics.settings import Settings as AnalyticsSettings
from gateway.settings import Settings as GatewaySettings
from localstack.setting_names import declared
from localstack.vault import DATABASE_OWNERS, DATABASE_SERVICES
from publisher.settings import Settings as PublisherSettings
from scheduler.settings import Settings as SchedulerSettings

CHECKOUT = Path(__file__).resolve().parents[2]
KUBERNETES = CHECKOUT / "deploy/kubernetes"
SETTINGS: dict[str, Any] = {
    "accounts": AccountsSettings,
    "analytics": AnalyticsSettings,
    "gateway": GatewaySettings,
    "publisher": PublisherSettings,
    "scheduler": SchedulerSettings,
}
YOURS = {"TIKTOK_CLIENT_KEY": "key", "TIKTOK_CLIENT_SECRET": "secret", "RATE_LIMIT_STORAGE": "valkey://limits:6379"}
"""What the README has its reader add to the secrets that `provision.py` makes."""


def manifests(folder: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what a kustomization has, by kind and name."""
    files = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert {*files, "kustomization.yaml"} == {file.name for file in (KUBERNETES / folder).iterdir()}
    texts = "\n---\n".join((KUBERNETES / folder / file).read_text(encoding="utf-8") for file in files)
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(texts) if one}


BASE, MIGRATIONS = manifests("base"), manifests("migrations")


def provision(folder: Path) -> Path:
    spec = importlib.util.spec_from_file_location("provision_for_kubernetes", CHECKOUT / "deploy/docker/provision.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.provision(folder)
    return folder


def pod_of(manifest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod and its only container, which have no right that they do not need."""
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"], "PUBLISHER_PORT and the like would be taken for settings"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    return pod, container


def secrets_of(pod: dict[str, Any]) -> list[str]:
    return [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]


def test_the_services_start_with_what_the_manifests_and_the_readme_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = provision(tmp_path)
    for service, settings_class in SETTINGS.items():
        pod, container = pod_of(BASE["Deployment", service])
        config = [source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source]
        given = {name: value for one in config for name, value in BASE["ConfigMap", one]["data"].items()}
        files = {entry["name"]: entry["value"] for entry in container["env"]}
        assert {name.removesuffix("_FILE") for name in files} <= declared(service)
        assert {name for name in given if not name.startswith("AWS_")} <= declared(service)
        assert secrets_of(pod) == [f"cuepost-{service}"]
        assert ("cuepost-storage" in str(container["envFrom"])) == ("STORAGE_URL" in declared(service))
        with monkeypatch.context() as patched:
            for name in declared(service):
                patched.delenv(name, raising=False)
            for name, value in (*given.items(), *files.items()):
                patched.setenv(name, value.replace("/run/cuepost", str(folder / service)))
            for name, value in YOURS.items():
                if f"{name}_FILE" in files:
                    (folder / service / name).write_text(value, encoding="utf-8")
            settings = settings_class()
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == {"http": 8080, "metrics": settings.metrics_port}
        (pause,) = container["lifecycle"]["preStop"]["exec"]["command"][1:]
        assert settings.shutdown_grace_seconds + int(pause) < pod["terminationGracePeriodSeconds"]
        probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert probes == {"startupProbe": "/readyz", "readinessProbe": "/healthz", "livenessProbe": "/healthz"}
        assert container["image"] == f"cuepost-{service}"
        (port,) = BASE["Service", service]["spec"]["ports"]
        address = f"http://{service}:{port['port']}"
        assert service == "gateway" or given[f"{service.upper()}_URL"] == address
        assert BASE["Service", service]["spec"]["selector"].items() <= pod_labels(service).items()


def pod_labels(service: str) -> dict[str, str]:
    labels: dict[str, str] = BASE["Deployment", service]["spec"]["template"]["metadata"]["labels"]
    return labels


def test_each_database_is_migrated_once_by_its_owner_and_policies_mean_pods_that_are_there() -> None:
    assert {name for _, name in MIGRATIONS} == {f"migrate-{service}" for service in DATABASE_SERVICES}
    for service in DATABASE_SERVICES:
        pod, container = pod_of(MIGRATIONS["Job", f"migrate-{service}"])
        owner = "cuepost-analytics-owner" if service in DATABASE_OWNERS else f"cuepost-{service}"
        assert secrets_of(pod) == [owner]
        assert container["command"] == ["python", "-m", "common.database.migrate", service]
    for (kind, name), manifest in BASE.items():
        if kind in {"NetworkPolicy", "PodDisruptionBudget"}:
            selector = manifest["spec"].get("podSelector") or manifest["spec"]["selector"]
            assert any(selector["matchLabels"].items() <= pod_labels(service).items() for service in SETTINGS), name
    assert ("PodDisruptionBudget", "publisher") in BASE
