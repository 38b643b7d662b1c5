"""The AsyncAPI 3.0 document of the event stream: what Cuepost sends, from where, under which routing key."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from common.contracts.envelope import CONTENT_TYPE, TYPE_PREFIX
from common.messaging.topology import EVENTS
from schemas.catalogue import EventType, catalogue, definitions, envelope_schema

Json = dict[str, Any]

_DESCRIPTION = (
    "Every event of Cuepost, as a CloudEvents 1.0 JSON object on one topic exchange. An event may come more than once, under the"
    " same id, and in any order. Fields may be added at any time, and values to lists of values; anything else is a new type beside"
    " the old one."
)


def asyncapi() -> Json:
    """Return the document; equal contracts give equal documents."""
    events = catalogue()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Cuepost events", "version": "1.0.0", "description": _DESCRIPTION},
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "local": {
                "host": "127.0.0.1:5690",
                "protocol": "amqp",
                "protocolVersion": "0-9-1",
                "description": "The local stack's RabbitMQ; `AMQP_URL` in .local/stack.env is the address of the user `audit`.",
                "security": [{"$ref": "#/components/securitySchemes/audit"}],
            }
        },
        "channels": {event.key: _channel(event) for event in events},
        "operations": {f"send {event.key}": _operation(event) for event in events},
        "components": {
            "messages": {event.key: _message(event) for event in events},
            "schemas": {"Envelope": envelope_schema(), **deepcopy(definitions("#/components/schemas/"))},
            "securitySchemes": {
                "audit": {"type": "userPassword", "description": "A user that reads events, and publishes to no channel."}
            },
        },
    }


def _channel(event: EventType) -> Json:
    exchange = {"name": EVENTS.name, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {
        "address": event.key,
        "description": event.description,
        "messages": {event.name: {"$ref": f"#/components/messages/{event.key}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }


def _operation(event: EventType) -> Json:
    channel = f"#/channels/{event.key}"
    return {
        "action": "send",
        "channel": {"$ref": channel},
        "summary": event.description.partition(". ")[0],
        "messages": [{"$ref": f"{channel}/messages/{event.name}"}],
        "bindings": {"amqp": {"deliveryMode": 2, "bindingVersion": "0.3.0"}},
    }


def _message(event: EventType) -> Json:
    own = {"type": {"const": TYPE_PREFIX + event.key}, "data": {"$ref": f"#/components/schemas/{event.name}"}}
    return {
        "name": event.name,
        "title": event.key,
        "summary": event.description,
        "contentType": CONTENT_TYPE,
        "payload": {"allOf": [{"$ref": "#/components/schemas/Envelope"}, {"type": "object", "properties": own}]},
        "examples": [{"payload": event.example}],
    }
