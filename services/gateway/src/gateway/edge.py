"""The parts of the gateway that routes use, wired once by `app.py`."""

from dataclasses import dataclass
from datetime import timedelta

from fastapi import Request

from common.http.body_guard import Pace
from common.places import Places
from gateway.clients.accounts_client import AccountsClient
from gateway.clients.object_store import ObjectStore
from gateway.clients.upstreams import Upstreams
from gateway.domain.client_address import Network
from gateway.handlers.live_feed import LiveFeed
from gateway.security.authenticator import Authenticator
from gateway.security.guesses import Guesses
from gateway.security.rate_limits import RateLimits
from gateway.usecases.follow_events import EventFollower
from gateway.usecases.live_streams import LiveStreams
from gateway.usecases.receive_webhook import Webhooks
from gateway.usecases.run_command import Commands
from gateway.usecases.tell_refusals import AccessRefusals


@dataclass(frozen=True, slots=True)
class Edge:
    """What routes need; sizes are bytes, times seconds."""

    authenticator: Authenticator
    rate_limits: RateLimits
    guesses: Guesses
    upstreams: Upstreams
    accounts: AccountsClient
    commands: Commands
    webhooks: Webhooks
    store: ObjectStore
    operation_key: bytes
    reply_retention: timedelta
    trusted_proxies: tuple[Network, ...]
    upload_max_bytes: int
    upload_pace: Pace
    uploads: Places
    exports: Places
    large_bodies: Places
    live_feed: LiveFeed
    live_streams: LiveStreams
    live_places: Places
    follower: EventFollower
    access_refusals: AccessRefusals


def edge_of(request: Request) -> Edge:
    """Return the parts of the app that serves this request."""
    edge: Edge = request.app.state.edge
    return edge
