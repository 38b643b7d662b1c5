"""A stored event as the CloudEvent it came as."""

from typing import Any

from analytics.domain.event import Event

_EXTENSIONS = {
    "userid": "user_id",
    "actor": "actor",
    "clientip": "client_ip",
    "useragent": "user_agent",
    "correlationid": "correlation_id",
    "causationid": "causation_id",
}


def cloud_event(event: Event) -> dict[str, Any]:
    """Return the CloudEvents 1.0 JSON object; what has no value is left out. The trace is not kept, so it is not there."""
    extensions = {name: getattr(event, field) for name, field in _EXTENSIONS.items()}
    return {
        "specversion": "1.0",
        "id": event.id,
        "type": f"cuepost.{event.key}",
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "datacontenttype": "application/json",
        "data": event.data,
        **{name: value for name, value in extensions.items() if value is not None},
        **({} if event.sequence is None else {"sequence": f"{event.sequence:010d}"}),
    }
