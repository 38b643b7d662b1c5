"""Composition root of analytics: the only place that wires."""

import sys
from functools import partial

from fastapi import FastAPI

from analytics.api.account_statistics import account_statistics_router
from analytics.api.audit import audit_router
from analytics.api.audit_export import audit_export_router
from analytics.api.overview import overview_router
from analytics.api.post_statistics import post_statistics_router
from analytics.api.posts_export import posts_export_router
from analytics.api.timeline import timeline_router
from analytics.api.user_events import user_events_router
from analytics.handlers.all_events import ALL_EVENTS, decode, handle_all_events
from analytics.loops.retention import Retention
from analytics.loops.roll_up import RollUp
from analytics.settings import Settings
from analytics.statistics_side import statistics_side
from analytics.usecases.check_rights import check_rights
from common.auth.service_tokens import ServiceTokenVerifier
from common.auth.user_tokens import UserTokenVerifier
from common.contracts.analytics import ConfirmStored
from common.database import Database
from common.http.app import create_app
from common.http.client import internal_client
from common.http.health import Check
from common.messaging.assurance import Assurances
from common.messaging.batch_consumer import BatchConsumer
from common.messaging.batches import BatchHandler
from common.messaging.dead_letters import Redelivery
from common.messaging.publisher import MessagePublisher
from common.settings import ServiceSettings, load

LINGER_S = 0.02
"""Nobody waits for a record that long: gathered, events cost a fraction."""


def build() -> tuple[FastAPI, ServiceSettings]:
    """Read the settings and wire the service."""
    settings = load(Settings)
    return wire(settings), settings


def wire(settings: Settings) -> FastAPI:
    """Return the app of a service with these settings.

    Parts start in this order, deliveries last, and stop in reverse order: the batch in hand is committed and acknowledged before
    the database goes.
    """
    database = Database(
        settings.database_url,
        application_name=settings.instance,
        pool_size=settings.database_pool_size,
        plans_for_values=True,
    )
    publisher = MessagePublisher(settings.amqp_url, service=settings.service)
    statistics = statistics_side(settings, publisher)
    consumer = BatchConsumer(
        settings.amqp_url,
        Redelivery(publisher, service=settings.service, own_retries=ALL_EVENTS.own_retries),
        BatchHandler(
            ALL_EVENTS.name,
            database,
            None,
            decode=decode,
            handle=handle_all_events(statistics.events_stored),
            busy_tries=sys.maxsize,
        ),
        ALL_EVENTS,
        service=settings.service,
        max_batch=settings.event_batch_size,
        linger=LINGER_S,
        grace=settings.shutdown_grace_seconds / 2,
        assurances=Assurances(ConfirmStored.KEY, publisher),
    )
    client = internal_client()
    return create_app(
        service=settings.service,
        title="Cuepost analytics",
        version="1",
        components=[
            database,
            Retention(database, settings.audit_key, retention=settings.retention, trusted=settings.audit_public_keys),
            RollUp(database),
            publisher,
            *statistics.components,
            consumer,
        ],
        checks=[
            Check("database", database.ping),
            Check("broker", publisher.check),
            Check("consumer", consumer.check),
            Check("audit_rights", partial(check_rights, database)),
        ],
        routers=[
            audit_router(database),
            audit_export_router(database),
            timeline_router(database),
            user_events_router(database),
            account_statistics_router(database),
            post_statistics_router(database),
            overview_router(database),
            posts_export_router(database),
        ],
        user_tokens=UserTokenVerifier.for_accounts(
            settings.accounts_url, client, issuer=settings.jwt_issuer, audience=settings.jwt_audience
        ),
        service_tokens=ServiceTokenVerifier(settings.service, settings.service_public_keys),
    )
