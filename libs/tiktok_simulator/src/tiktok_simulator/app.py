"""The application: routes, error shapes, the fault gate, and the state's life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.requests import ClientDisconnect

from tiktok_simulator import admin, admin_posts, admin_webhooks, display, inits, oauth, posting, site, uploads, videos
from tiktok_simulator.answers import ApiError, OAuthError, UploadError, api_error, nobody_waits, oauth_error, upload_error
from tiktok_simulator.fault_gate import FaultGate
from tiktok_simulator.settings import Settings
from tiktok_simulator.state import Simulator


def create_app(settings: Settings) -> FastAPI:
    """Return the simulator as an ASGI application.

    Its state is ``app.state.simulator`` while it runs. Serve it with ``connection.AbortableProtocol``, else faults
    that close connections fail.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        simulator = Simulator.open(settings)
        app.state.simulator = simulator
        await simulator.start()
        try:
            yield
        finally:
            await simulator.close()

    app = FastAPI(title="TikTok simulator", version="1", lifespan=lifespan, redirect_slashes=False)
    app.state.settings = settings
    app.add_middleware(FaultGate)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(OAuthError, oauth_error)
    app.add_exception_handler(UploadError, upload_error)
    app.add_exception_handler(ClientDisconnect, nobody_waits)
    for module in (oauth, display, videos, posting, inits, uploads, admin, admin_posts, admin_webhooks, site):
        # Complete as they are: included, FastAPI makes each of them a second time when the first request comes.
        app.router.routes.extend(module.router.routes)
    return app
