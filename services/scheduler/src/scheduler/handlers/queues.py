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
"""Of each queue of what is quick."""

COMMANDS = commands_queue(
    "scheduler.commands",
    CreatePost.KEY,
    UpdatePost.KEY,
    PublishPostNow.KEY,
    ConfirmPost.KEY,
    DeleteMedia.KEY,
    prefetch=MAIN_PREFETCH,
)
QUESTIONS = commands_queue("scheduler.questions", RetryPost.KEY, CancelPost.KEY, prefetch=200, taken_from=COMMANDS.name)
"""The publisher may have to be asked, and TikTok by it, for seconds. Most of so many wait for their turn to ask."""
BATCHES = commands_queue("scheduler.batches", CreatePosts.KEY, prefetch=2, taken_from=COMMANDS.name)
"""A batch takes seconds, and several times its megabytes of memory."""
MEDIA = commands_queue("scheduler.media", RegisterMedia.KEY, prefetch=200)
"""Most of so many wait for their user's turn to be looked into, so that nobody's are behind another's."""
PUBLISH_RESULTS = events_queue("scheduler.publish_results", "publisher.publish.*.v1", prefetch=MAIN_PREFETCH)
ACCOUNTS = events_queue("scheduler.accounts", "accounts.account.*.v1", prefetch=MAIN_PREFETCH)
OF_OWNERS = (COMMANDS.name, QUESTIONS.name, ACCOUNTS.name)
"""Through these comes what changes posts, by their owners' wish, before they are due."""
