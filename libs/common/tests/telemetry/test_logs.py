import json
import subprocess
import sys
from typing import Any

import pytest

from common.telemetry.logs import configure_logging

PROGRAM = """
import logging, sys, warnings
import structlog
from uuid import UUID
from datetime import datetime, UTC
early = logging.getLogger("uvicorn.error")
early.addHandler(logging.StreamHandler(sys.stderr))
early.propagate = False
from common.telemetry.logs import configure_logging
configure_logging("probe", sys.argv[1], sys.argv[2], instance="probe-1")
log = structlog.get_logger("x")
structlog.contextvars.bind_contextvars(correlation_id="c1")
log.debug("hidden unless debug")
log.info("hello", token="canary", id=UUID(int=1), at=datetime(2026, 1, 1, tzinfo=UTC), odd=object,
         nested={1: {"password": "canary"}})
try:
    raise RuntimeError("amqp://user:canary@host broke")
except RuntimeError:
    log.exception("failed", url="postgresql://u:canary@h/db")
logging.getLogger("uvicorn.error").warning("from uvicorn %s", "Bearer canary")
logging.getLogger("sqlalchemy.pool").error("pool", extra={"secret": "canary"})
logging.getLogger("httpx").info("quiet")
logging.getLogger("faststream").info("quiet")
try:
    raise ValueError("password=canary")
except ValueError:
    logging.getLogger("faststream").exception("consumer failed")
warnings.warn("look out: cpk_canary", UserWarning)
"""


def output_of(level: str, format_: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level, format_], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert "canary" not in done.stdout
    return done.stdout


def test_every_line_is_one_json_object_without_secrets() -> None:
    entries: list[dict[str, Any]] = [json.loads(line) for line in output_of("INFO", "json").splitlines()]
    assert [entry["event"].split(":")[0] for entry in entries[:5]] == [
        "hello",
        "failed",
        "from uvicorn Bearer [redacted]",
        "pool",
        "consumer failed",
    ]
    assert len(entries) == 6
    for entry in entries:
        assert entry["service"] == "probe"
        assert entry["instance"] == "probe-1"
        assert entry["correlation_id"] == "c1"
        assert entry["time"].endswith("Z")
        assert entry["level"] in {"info", "error", "warning"}
    hello, failed, _, pool, consumer, warning = entries
    assert hello["id"] == "00000000-0000-0000-0000-000000000001"
    assert hello["nested"] == {"1": {"password": "[redacted]"}}
    assert "RuntimeError" in failed["exception"]
    assert pool["logger"] == "sqlalchemy.pool"
    assert "ValueError" in consumer["exception"]
    assert "look out" in warning["event"]


def test_debug_shows_more() -> None:
    text = output_of("DEBUG", "json")
    assert "hidden unless debug" in text
    assert '"quiet"' in text


def test_console_format_is_for_people() -> None:
    text = output_of("WARNING", "console")
    assert "hello" not in text
    assert "failed" in text
    assert not text.startswith("{")


def test_wrong_levels_are_refused() -> None:
    with pytest.raises(KeyError):
        configure_logging("x", "LOUD")
