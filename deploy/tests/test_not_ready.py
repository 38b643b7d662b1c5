"""A service that lives but is not ready: what it says is missing is told, after one restart was tried."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localstack.blueprint import Blueprint
from localstack.errors import StackError
from localstack.health import readiness_problems, warnings
from localstack.paths import Paths
from localstack.ports import Ports
from localstack.startup import Startup
from localstack.supervision import ProcessState

BROKEN = {
    "status": "not_ready",
    "service": "gateway",
    "checks": {"broker": {"ok": False, "reason": "no answer within 2 s"}, "storage": {"ok": True, "reason": None}},
}


class FakeSupervisor:
    """Stands for the process manager, whose program runs all the time; a restart may heal it."""

    def __init__(self, restarted: Callable[[], None]) -> None:
        self.calls: list[str] = []
        self._restarted = restarted

    def states(self) -> dict[str, ProcessState]:
        return {"gateway-1": ProcessState("gateway-1", "RUNNING", 1, 0.0)}

    def start_program(self, _name: str) -> None:
        self.calls.append("start")
        if "stop" in self.calls:
            self._restarted()

    def stop(self, _names: list[str]) -> None:
        self.calls.append("stop")


class Service:
    """An HTTP server that answers `/readyz` as told."""

    def __init__(self) -> None:
        self.status, self.body = 503, json.dumps(BROKEN)
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(service.status)
                self.end_headers()
                self.wfile.write(service.body.encode())

            def log_message(self, *_arguments: Any) -> None:
                """Stay silent."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def heal(self) -> None:
        self.status = 200


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


def startup(tmp_path: Path, service: Service, supervisor: Any) -> Startup:
    paths = Paths(tmp_path)
    paths.create()
    (paths.log / "gateway-1.log").write_text("GET /readyz 503\n", encoding="utf-8")
    return Startup(Blueprint(ports=Ports(gateway=service.port)), paths, supervisor, {}, timeout=0.2)


def test_the_failing_checks_are_told_instead_of_the_access_log(tmp_path: Path, service: Service) -> None:
    supervisor = FakeSupervisor(lambda: None)
    with pytest.raises(StackError, match=r"gateway-1 is not ready.*restarted once") as caught:
        startup(tmp_path, service, supervisor).start_and_wait("gateway-1")
    assert "broker: no answer within 2 s" in str(caught.value)
    assert "storage" not in str(caught.value)
    assert "GET /readyz" not in str(caught.value)
    assert supervisor.calls == ["start", "stop", "start"]


def test_a_service_that_a_restart_heals_is_not_given_up(tmp_path: Path, service: Service) -> None:
    startup(tmp_path, service, FakeSupervisor(service.heal)).start_and_wait("gateway-1")


def test_a_service_that_does_not_answer_is_told_by_its_log(tmp_path: Path, service: Service) -> None:
    service.server.shutdown()
    service.server.server_close()
    supervisor = FakeSupervisor(lambda: None)
    with pytest.raises(StackError, match=r"(?s)is not ready.*GET /readyz 503"):
        startup(tmp_path, service, supervisor).start_and_wait("gateway-1")
    assert supervisor.calls == ["start"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (json.dumps(BROKEN), ["broker: no answer within 2 s"]),
        ('{"status": "starting", "checks": {}}', ["starting"]),
        ("<html>", ["/readyz answers 503"]),
        ("[]", ["/readyz answers 503"]),
    ],
)
def test_what_readyz_says_is_read_whatever_it_is(service: Service, body: str, said: list[str]) -> None:
    service.body = body
    assert readiness_problems(service.port) == said
    assert warnings(service.port) == []


def test_a_service_that_does_its_work_may_warn(service: Service) -> None:
    service.heal()
    service.body = json.dumps({"status": "ready", "checks": {}, "warnings": ["Relay: RabbitMQ refused 3 messages"]})
    assert readiness_problems(service.port) == []
    assert warnings(service.port) == ["Relay: RabbitMQ refused 3 messages"]
