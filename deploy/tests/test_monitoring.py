"""Prometheus and Grafana ask for what the services tell, and for every alarm that the operations guide names."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY

import accounts.metrics
import analytics.metrics
import common.messaging.relay
import common.telemetry.metrics
import gateway.metrics
import publisher.metrics
import scheduler.metrics

CHECKOUT = Path(__file__).resolve().parents[2]
PROMETHEUS, GRAFANA = CHECKOUT / "deploy/prometheus", CHECKOUT / "deploy/grafana"
TELLING = (
    accounts.metrics,
    analytics.metrics,
    common.messaging.relay,
    common.telemetry.metrics,
    gateway.metrics,
    publisher.metrics,
    scheduler.metrics,
)
"""Importing them makes their metrics."""

NAMES = re.compile(r"\bcuepost_[a-z_]+")
LABELS = re.compile(r"(cuepost_[a-z_]+)\{([^}]*)\}")
OF_SCRAPING = {"service", "instance", "job"}

TOLD: dict[str, set[str]] = {}
"""Names of samples, and the labels that each has."""
for _collector, _names in REGISTRY._collector_to_names.items():
    for _name in _names:
        TOLD[_name] = {*getattr(_collector, "_labelnames", ()), "le"}

RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
BOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards/cuepost.json").read_text(encoding="utf-8"))
ASKED = [rule["expr"] for rule in RULES] + [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


def test_every_metric_and_label_asked_for_is_told() -> None:
    asked = {name for expression in ASKED for name in NAMES.findall(expression)}
    assert asked
    assert asked <= set(TOLD)
    for expression in ASKED:
        for name, matchers in LABELS.findall(expression):
            labels = set(re.findall(r"(\w+)[=!]", matchers))
            assert labels <= TOLD[name] | OF_SCRAPING, (name, labels)


def test_every_alarm_of_the_operations_guide_is_a_rule_or_shown() -> None:
    guide = (CHECKOUT / "docs/operations.md").read_text(encoding="utf-8")
    table = guide.partition("### What to alarm on")[2].partition("Counters are per process")[0]
    named = {name for line in table.splitlines() if line.startswith("|") for name in NAMES.findall(line.split("|")[1])}
    assert len(named) > 20
    asked = " ".join(ASKED)
    assert {name for name in named if name not in asked} == set()
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "ticket"}


def test_every_replica_and_the_broker_are_asked() -> None:
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (found,) = jobs["cuepost"]["dns_sd_configs"]
    assert {name for name, container in compose.items() if "METRICS_PORT" in container.get("environment", {})} == {
        *found["names"]
    }
    assert {str(found["port"])} == {compose[name]["environment"]["METRICS_PORT"] for name in found["names"]}
    assert {job for job in jobs if "static_configs" in jobs[job]} == {"rabbitmq", "rabbitmq-queues"}
    mounts = dict(str(volume).split(":")[1::-1] for name in ("prometheus", "grafana") for volume in compose[name]["volumes"])
    for file in (*map(Path, config["rule_files"]), Path("/etc/grafana/dashboards/cuepost.json")):
        assert (CHECKOUT / mounts[str(file.parent)] / file.name).is_file()
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"][
        0
    ]
    assert {panel["datasource"]["uid"] for panel in BOARD["panels"]} == {source["uid"]}
