"""Structured logs: one JSON object (or console line) per event on stdout, standard library logging included."""

import logging
import sys
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import Processor

from common.telemetry.redaction import redact_event

NOISY_LOGGERS = ("aiormq", "aio_pika", "faststream", "httpx", "httpcore", "uvicorn.access", "alembic", "asyncio")
"""Loggers whose INFO lines repeat what Cuepost logs itself; shown from WARNING on unless the level is DEBUG."""
ECHOING_LOGGERS = ("aiormq.connection",)
"""Loggers that repeat as an error, for each try, what whoever connects tells as a warning; shown at DEBUG only."""


def _json(event: dict[str, Any], default: Any = None, **_: Any) -> bytes:
    return orjson.dumps(event, default=default or str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)


def _json_text(event: dict[str, Any], default: Any = None, **_: Any) -> str:
    return _json(event, default).decode()


def _shared_processors(service: str, instance: str | None) -> list[Processor]:
    def add_service(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        if instance:
            event["instance"] = instance
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_service,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_event,
    ]


def configure_logging(
    service: str,
    level: str = "INFO",
    format: Literal["json", "console"] = "json",  # noqa: A002 - the setting's own name
    *,
    instance: str | None = None,
) -> None:
    """Send all logs of the process to stdout, each with service, level, time and the bound context, without secrets.

    `level` is DEBUG, INFO, WARNING or ERROR. May be called again; the last call wins.
    """
    number = logging.getLevelNamesMapping()[level]
    shared = _shared_processors(service, instance)
    console = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    structlog.configure(
        processors=[*shared, console if format == "console" else structlog.processors.JSONRenderer(serializer=_json)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory() if format == "console" else structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    _route_standard_logging(number, shared, format)


def _route_standard_logging(level: int, shared: list[Processor], format_: str) -> None:
    renderer: Processor = structlog.processors.JSONRenderer(serializer=_json_text)
    if format_ == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        if logger.handlers and name.partition(".")[0] in {
            "uvicorn",
            "faststream",
            "sqlalchemy",
            "alembic",
            "aiormq",
            "aio_pika",
        }:
            logger.handlers.clear()
            logger.propagate = True
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if level == logging.DEBUG else max(level, logging.WARNING))
    for name in ECHOING_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if level == logging.DEBUG else logging.CRITICAL)
