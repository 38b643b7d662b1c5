"""The stack that is broken: its own ports and folder, patience cut short, so that hours become seconds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from chaos.content import ContentMaker
from chaos.crash_folder import CrashFolder
from chaos.site import Site
from localstack.paths import CHECKOUT
from localstack.ports import Ports
from localstack.stack import Stack
from system.crashing import crashing
from system.folder_host import folder_host
from system.operator import Operator

FOLDER = CHECKOUT / ".local" / "chaos"
LEASE_SECONDS = 5.0


def environment() -> dict[str, str]:
    """Return the settings under which everything happens soon. TikTok's limits per minute stay as they are."""
    return {
        "RATE_LIMIT_PER_USER": "1000000/minute",
        "RATE_LIMIT_PER_ADDRESS": "1000000/minute",
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "DISCONNECT_CHECK_SECONDS": "1",
        "SOURCE_URL_ALLOWED_HOSTS": json.dumps(["127.0.0.1"]),
        "SIMULATOR_PULL_LOOPBACK": "true",
        "SIMULATOR_KEEP_NEWEST_BYTES": "1000000",
        "SIMULATOR_DAILY_POSTS": "0",
        # What TikTok leaves open is taken in the worst way: a complete upload that is still processed seems to miss its last chunk.
        "SIMULATOR_UPLOADED_BYTES_LAG_SECONDS": "600",
        "UPLOAD_SETTLE_SECONDS": "3",
        # So short that every account's token is refreshed while it posts.
        "SIMULATOR_ACCESS_TOKEN_SECONDS": "90",
        "DAILY_POSTS_PER_CREATOR": "0",
        "RETRY_DELAYS_SECONDS": "[2, 4, 8, 16]",
        "SWEEP_DUE_SECONDS": "5",
        "SWEEP_PUBLISHING_SECONDS": "5",
        "SWEEP_PROCESSING_SECONDS": "10",
        "UNCONFIRMED_AFTER_SECONDS": "90",
        "REFUSED_PATIENCE_SECONDS": "0",
    }


@contextmanager
def ground(seed: int, *, replicas: int, patience: float, keep: list[bool]) -> Iterator[Site]:
    """Run the stack until the block ends; logs and data stay when `keep` is not empty then."""
    points = FOLDER / "crash_points"
    crash = CrashFolder(points)
    crash.disarm()
    media = FOLDER / "media"
    media.mkdir(parents=True, exist_ok=True)
    counts = {"gateway": 2, "scheduler": 2, "publisher": replicas}
    stack = Stack(FOLDER, Ports.free(), replicas=counts, environment=environment(), timeout=180.0, **crashing(points))
    stack.reset()
    try:
        stack.up()
        operator = Operator(stack)
        with folder_host(media) as address:
            try:
                yield Site(operator, ContentMaker(media, seed), crash, address, LEASE_SECONDS, patience)
            finally:
                operator.close()
    finally:
        stack.down()
        if not keep:
            stack.reset()
        for path in media.iterdir():
            path.unlink()
