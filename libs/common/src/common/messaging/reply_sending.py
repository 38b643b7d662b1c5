"""Sending an answer to whoever asked."""

import structlog

from common.messaging.incoming import Incoming
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.reply import Reply

_log = structlog.get_logger(__name__)


async def send_reply(publisher: MessagePublisher, asked: Incoming, reply: Reply) -> None:
    """Send the reply to the asker's queue, if one is named; one that cannot be sent is logged and forgotten.

    No asker depends on it: of a command the stored reply answers the operation, and any other question is asked again.
    """
    if not asked.reply_to:
        return
    message = Outgoing(
        body=reply.model_dump_json().encode(),
        routing_key=asked.reply_to,
        correlation_id=asked.correlation_id,
        persistent=False,
    )
    try:
        await publisher.publish(message)
    except Exception as error:  # noqa: BLE001 - see above
        _log.warning("reply_not_sent", queue=asked.queue, reason=type(error).__name__)
