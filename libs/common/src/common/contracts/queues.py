"""The work queues of all services, for operators: each has a dead-letter queue `<queue>.dead` beside it."""

WORK_QUEUES = (
    "accounts.batches",
    "accounts.commands",
    "accounts.publish_news",
    "accounts.sync",
    "accounts.webhooks",
    "analytics.all_events",
    "publisher.accounts",
    "publisher.post_due",
    "publisher.webhooks",
    "scheduler.accounts",
    "scheduler.batches",
    "scheduler.commands",
    "scheduler.media",
    "scheduler.publish_results",
    "scheduler.questions",
)
