"""Lifecycle of the parts of a service: started in order, stopped in reverse order within a deadline."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import structlog

log = structlog.get_logger(__name__)


@runtime_checkable
class Component(Protocol):
    """A part with a lifetime.

    It may also have `healthy() -> str | None`: None when fine, else the reason why not, and `warning() -> str | None`: what an
    operator should look at though it does its work.
    """

    async def start(self) -> None:
        """Begin; an exception ends the start of the service."""

    async def stop(self) -> None:
        """Finish or hand back what is in hand; called once, also after a failed start of a later component."""


def name_of(component: object) -> str:
    """Return the name under which a component appears in readiness and logs: its `name`, else its class."""
    name = getattr(component, "name", None)
    return name if isinstance(name, str) and name else type(component).__name__


def health_of(component: object) -> str | None:
    """Return None when the component is fine or does not tell, else its reason."""
    healthy = getattr(component, "healthy", None)
    if healthy is None:
        return None
    try:
        reason: str | None = healthy()
    except Exception as error:  # noqa: BLE001 - a health check that fails is itself the bad news
        return f"health check failed: {type(error).__name__}"
    return reason


def warning_of(component: object) -> str | None:
    """Return what the component wants an operator to look at, None for nothing."""
    warning = getattr(component, "warning", None)
    told: str | None = None if warning is None else warning()
    return told


async def start_all(components: Sequence[Component]) -> None:
    """Start in order; when one fails, stop those already started in reverse order and raise its error."""
    started: list[Component] = []
    try:
        for component in components:
            await component.start()
            started.append(component)
    except BaseException:
        await stop_all(started)
        raise


async def stop_all(components: Sequence[Component], *, within_seconds: float = 10.0) -> None:
    """Stop in reverse order; all together get `within_seconds`, and one that fails or hangs does not keep the others."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_seconds
    for component in reversed(components):
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + 0.5)):
                await component.stop()
        except TimeoutError:
            log.error("component_stop_timed_out", component=name_of(component))  # noqa: TRY400 - the trace says nothing more
        except Exception:
            log.exception("component_stop_failed", component=name_of(component))
