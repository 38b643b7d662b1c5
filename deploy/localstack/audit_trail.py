"""Telling the audit trail what an operator does with the broker itself."""

from __future__ import annotations

import os
import subprocess
import sys

from localstack.errors import StackError

TELL_SECONDS = 60


def tell_of_consumer(url: str, user: str) -> None:
    """Tell it, by the broker's administrator at `url`, that this user is made; raises StackError when it is not confirmed."""
    environment = {name: os.environ[name] for name in ("PATH", "LOGNAME", "USER") if name in os.environ}
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "common.messaging.operator_action", "consumer_user_created", user],
            env=environment | {"AMQP_URL": url},
            capture_output=True,
            timeout=TELL_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise StackError(
            f"{user} was not made: the broker did not confirm that the audit trail is told of it; try again when it runs"
        ) from None
