"""The queues of accounts and what they receive."""

from common.contracts.accounts import DisconnectAccount, SyncAccount, SyncAccounts, UpdateAccount
from common.contracts.gateway import WebhookReceived
from common.contracts.publisher import PublishDeferred, PublishSubmitted
from common.messaging.topology import commands_queue, events_queue

COMMANDS = commands_queue("accounts.commands", UpdateAccount.KEY, DisconnectAccount.KEY, prefetch=20)
SYNC = commands_queue("accounts.sync", SyncAccount.KEY, prefetch=4)
"""Slow ones: they ask TikTok."""
BATCHES = commands_queue("accounts.batches", SyncAccounts.KEY, prefetch=50, taken_from=SYNC.name)
"""Each takes up to a minute, which nobody who syncs one account waits for. BatchTurns says whose are read; the others are
refused at once."""
WEBHOOKS = events_queue("accounts.webhooks", WebhookReceived.KEY, prefetch=4)
"""Served beside the slow commands: it may ask TikTok, too."""
PUBLISH_NEWS = events_queue("accounts.publish_news", PublishDeferred.KEY, PublishSubmitted.KEY, prefetch=20)
"""One for each post at least, and almost all are nothing to tell; a few of them ask TikTok."""
