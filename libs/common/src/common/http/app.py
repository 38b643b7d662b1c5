"""The FastAPI app of a service: lifecycle, health, request ids, limits and problems in one place."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from common.auth.service_tokens import ServiceTokenVerifier
from common.auth.user_tokens import UserTokenVerifier
from common.http.body_guard import DEFAULT_LIMIT_BYTES, BodyGuard
from common.http.components import Component, start_all, stop_all
from common.http.health import Check, health_router
from common.http.problems import install_problem_handlers
from common.http.request_middleware import RequestMiddleware

COMPONENT_STOP_SECONDS = 10.0

log = structlog.get_logger(__name__)


def create_app(
    *,
    service: str,
    title: str,
    version: str,
    components: Sequence[Component] = (),
    checks: Sequence[Check] = (),
    routers: Sequence[APIRouter] = (),
    docs: bool = False,
    user_tokens: UserTokenVerifier | None = None,
    service_tokens: ServiceTokenVerifier | None = None,
    behind_gateway: bool = True,
    body_limit_bytes: int = DEFAULT_LIMIT_BYTES,
    upload_prefixes: Sequence[str] = (),
    middleware: Sequence[Middleware] = (),
) -> FastAPI:
    """Return the app.

    `components` start in the given order and stop in reverse; `/readyz` asks each `healthy()` and every check. `user_tokens` and
    `service_tokens` serve the dependencies of `common.http.identity`; `user_tokens` is started first, as a component.
    `behind_gateway` says that forwarded client addresses are believed (all services but the gateway). Paths that begin
    with one of `upload_prefixes` are not held to `body_limit_bytes`: their routes read bodies themselves. `middleware` comes right
    within the one that gives requests their ids, before any body is read. `app.state.stopping` is set when the process was asked
    to end.
    """
    parts: list[Component] = [*([user_tokens] if user_tokens is not None else []), *components]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await start_all(parts)
        app.state.started = True
        log.info("started", components=len(parts))
        try:
            yield
        finally:
            app.state.stopping.set()
            await stop_all(parts, within_seconds=app.state.component_stop_seconds)
            log.info("stopped")

    app = FastAPI(
        title=title,
        version=version,
        lifespan=lifespan,
        openapi_url="/openapi.json" if docs else None,
        docs_url="/docs" if docs else None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(RequestMiddleware),
            *middleware,
            Middleware(BodyGuard, limit_bytes=body_limit_bytes, unguarded_prefixes=tuple(upload_prefixes)),
        ],
    )
    app.state.started = False
    app.state.stopping = asyncio.Event()
    app.state.component_stop_seconds = COMPONENT_STOP_SECONDS
    app.state.user_tokens = user_tokens
    app.state.service_tokens = service_tokens
    app.state.behind_gateway = behind_gateway
    install_problem_handlers(app)
    app.include_router(health_router(service, parts, checks), include_in_schema=docs)
    for router in routers:
        # Complete as they are: included, FastAPI makes each of them a second time when the first request comes.
        app.router.routes.extend(router.routes)
    return app
