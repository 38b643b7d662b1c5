"""The scheduler's queues and what they receive."""

from common.contracts.scheduler import (
    CancelPost,
    ConfirmPost,
    CreatePost,
    CreatePosts,
    DeleteMedia,
    PublishPostNow,
    RegisterMedia,
    RetryPost,
    UpdatePost,
)
from common.messaging.topology import commands_queue, events_queue

MAIN_PREFETCH = 20
"""One consumer serves all but the slow queue, with one prefetch for each of its queues."""

COMMANDS = commands_queue(
    "scheduler.commands",
    CreatePost.KEY,
    CreatePosts.KEY,
    UpdatePost.KEY,
    PublishPostNow.KEY,
    RetryPost.KEY,
    ConfirmPost.KEY,
    CancelPost.KEY,
    DeleteMedia.KEY,
    prefetch=MAIN_PREFETCH,
)
MEDIA = commands_queue("scheduler.media", RegisterMedia.KEY, prefetch=4)
PUBLISH_RESULTS = events_queue("scheduler.publish_results", "publisher.publish.*.v1", prefetch=MAIN_PREFETCH)
ACCOUNTS = events_queue("scheduler.accounts", "accounts.account.*.v1", prefetch=MAIN_PREFETCH)
