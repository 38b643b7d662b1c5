"""The scheduler's queues and what they receive."""

from common.contracts.scheduler import CancelPost, CreatePost, DeleteMedia, PublishPostNow, RegisterMedia
from common.messaging.topology import commands_queue, events_queue

MAIN_PREFETCH = 20
"""One consumer serves all but the slow queue, with one prefetch for each of its queues."""

COMMANDS = commands_queue(
    "scheduler.commands",
    CreatePost.KEY,
    PublishPostNow.KEY,
    CancelPost.KEY,
    DeleteMedia.KEY,
    prefetch=MAIN_PREFETCH,
)
MEDIA = commands_queue("scheduler.media", RegisterMedia.KEY, prefetch=4)
PUBLISH_RESULTS = events_queue("scheduler.publish_results", "publisher.publish.*.v1", prefetch=MAIN_PREFETCH)
ACCOUNTS = events_queue("scheduler.accounts", "accounts.account.*.v1", prefetch=MAIN_PREFETCH)
