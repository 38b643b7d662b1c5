"""What the demonstration prints."""

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)

_NAMES = {
    "scheduler.post.scheduled": "scheduled",
    "scheduler.post.due": "due",
    "publisher.publish.started": "publishing: a publisher took the job",
    "publisher.publish.deferred": "deferred",
    "publisher.publish.submitted": "processing: all bytes are with TikTok",
    "publisher.publish.succeeded": "TikTok says it is done",
    "publisher.publish.identified": "the video's id became known",
    "publisher.publish.failed": "the attempt failed",
    "scheduler.post.retry_scheduled": "retry scheduled",
    "scheduler.post.published": "published",
    "scheduler.post.failed": "failed",
    "scheduler.post.unconfirmed": "unconfirmed",
}


def step(text: str) -> None:
    """Print one step."""
    console.print(f"[bold cyan]>[/] {text}")


def event(envelope: dict[str, Any], due_at: datetime) -> None:
    """Print one event of the post with its distance to the due instant in milliseconds."""
    key = envelope["type"].removeprefix("cuepost.").removesuffix(".v1")
    offset = (datetime.fromisoformat(envelope["time"]) - due_at).total_seconds() * 1000
    extra = "".join(
        f"  {name}={envelope['data'][name]}"
        for name in ("attempt", "lateness_ms", "publish_id", "tiktok_video_id", "code", "message")
        if envelope["data"].get(name) is not None
    )
    console.print(f"  [dim]{offset:+10.1f} ms[/]  [bold]{_NAMES.get(key, key)}[/][dim]{extra}[/]", soft_wrap=True)


def timeline(items: list[dict[str, Any]]) -> None:
    """Print the timeline that GET /posts/{id}/detail tells."""
    table = Table(title="Timeline (GET /api/v1/posts/{id}/detail)", title_justify="left", box=None, pad_edge=False)
    for column in ("at", "type", "message"):
        table.add_column(column, overflow="fold")
    for item in items:
        table.add_row(str(item["at"])[11:27], str(item["type"]), str(item["message"]))
    console.print(table)


def result(name: str, value: str) -> None:
    """Print one result."""
    console.print(f"  [bold]{name:<22}[/] {value}", soft_wrap=True)


def failure(text: str) -> None:
    """Print why the demonstration failed."""
    console.print(f"[bold red]FAILED[/] {text}", soft_wrap=True)
