"""What `make up` ends with: `.local/stack.env` for scripts, and a block a person can copy from."""

from __future__ import annotations

from localstack.demo_access import working_key
from localstack.paths import write_private
from localstack.rabbitmq import broker_url
from localstack.service_environment import public_url
from localstack.stack import Stack


def make_ready(stack: Stack) -> str:
    """Write `stack.env` with a working API key and return that key."""
    gateway, secrets = public_url(stack.blueprint), stack.secrets
    key = working_key(gateway, stack.paths, secrets["demo_password"])
    simulator = f"http://127.0.0.1:{stack.ports.simulator}" if stack.blueprint.simulated else ""
    values = {
        "GATEWAY_URL": gateway,
        "SIMULATOR_URL": simulator,
        "AMQP_URL": broker_url(secrets, stack.ports, "audit"),
        "DEMO_API_KEY": key,
    }
    write_private(stack.paths.stack_env, "".join(f"{name}={value}\n" for name, value in values.items()))
    return key


def ready_block(stack: Stack, key: str, seconds: float) -> str:
    """Return the text that tells where things are; its curl lines work as they stand."""
    gateway = public_url(stack.blueprint)
    tiktok = f"simulator http://127.0.0.1:{stack.ports.simulator} (not the real one)"
    if not stack.blueprint.simulated:
        tiktok = stack.blueprint.environment["TIKTOK_API_URL"]
    bearer = f'-H "Authorization: Bearer {key}"'
    return "\n".join(
        [
            "",
            f"Cuepost is ready ({seconds:.1f} s).",
            f"  API      {gateway}/api/v1",
            f"  docs     {gateway}/docs",
            f"  TikTok   {tiktok}",
            f"  API key  {key}   (also in {stack.paths.stack_env})",
            "",
            "Try:",
            f"  curl -s {bearer} {gateway}/api/v1/accounts",
            f"  curl -s {bearer} {gateway}/api/v1/tiktok/auth/url",
            f'  curl -s {bearer} "{gateway}/api/v1/audit?limit=5"',
            "",
            "make demo publishes a video; make ps, logs, down operate the stack.",
        ]
    )
