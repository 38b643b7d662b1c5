"""`/healthz`: the process answers. `/readyz`: everything it needs is there, or which part is not and why."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from common.http.components import Component, health_of, name_of, warning_of
from common.http.json_response import json_response

CHECK_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """A readiness check: `run` returns when fine, and otherwise the reason as text or raises; it gets 2 seconds."""

    name: str
    run: Callable[[], Awaitable[object]]
    timeout_seconds: float = CHECK_TIMEOUT_SECONDS

    async def reason(self) -> str | None:
        """Return None when fine, else why not (kind of error only: messages may hold addresses)."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                result = await self.run()
        except TimeoutError:
            return f"no answer within {self.timeout_seconds:g} s"
        except Exception as error:  # noqa: BLE001 - any failure makes the service not ready, and is told
            return type(error).__name__
        return result if isinstance(result, str) else None


async def readiness(components: Sequence[Component], checks: Sequence[Check]) -> dict[str, str | None]:
    """Return each part's reason for not being ready, None where it is fine; checks run at the same time."""
    reasons: dict[str, str | None] = {}
    for component in components:
        name = name_of(component)
        reasons[name if name not in reasons else f"{name}-{len(reasons)}"] = health_of(component)
    results = await asyncio.gather(*(check.reason() for check in checks))
    return reasons | {check.name: result for check, result in zip(checks, results, strict=True)}


def health_router(service: str, components: Sequence[Component], checks: Sequence[Check]) -> APIRouter:
    """Return the routes `/healthz` and `/readyz`."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process is alive")
    async def healthz() -> Response:
        """Answer 200 whenever the event loop runs."""
        return json_response({"status": "ok", "service": service})

    @router.get("/readyz", summary="Everything the service needs is there")
    async def readyz(request: Request) -> Response:
        """Answer 200 or 503, each with the reason per part; `warnings` do not make it 503."""
        if request.app.state.stopping.is_set():
            return json_response({"status": "stopping", "service": service, "checks": {}}, status=503)
        if not request.app.state.started:
            return json_response({"status": "starting", "service": service, "checks": {}}, status=503)
        reasons = await readiness(components, checks)
        ready = all(reason is None for reason in reasons.values())
        body = {
            "status": "ready" if ready else "not_ready",
            "service": service,
            "checks": {name: {"ok": reason is None, "reason": reason} for name, reason in reasons.items()},
            "warnings": [f"{name_of(part)}: {told}" for part in components if (told := warning_of(part)) is not None],
        }
        return json_response(body, status=200 if ready else 503)

    return router
