"""The main job for real: register, end a key and a session, connect a simulated account, upload, schedule, watch, prove.

Exits with 0 only when the simulator's ledger has exactly one publication of the video with the same sha256, the post says
published, and it left within `MAX_LATENESS_MS` of its time (time of PublishStarted minus due time).
"""

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from dotenv import dotenv_values

from demo import report
from demo.access import show_access
from demo.api import Creator, Cuepost
from demo.errors import DemoError, NoSimulatorError
from demo.video import Video, make_video
from demo.watch import watching

STACK_ENV = Path(".local/stack.env")
LEAD = timedelta(seconds=4)
PATIENCE_S = 90.0
MAX_LATENESS_MS = 250.0
STARTED, PUBLISHED = "publisher.publish.started", "scheduler.post.published"
ENDS = {PUBLISHED, "scheduler.post.failed", "scheduler.post.unconfirmed"}


async def demonstrate() -> None:
    """Do the main job against the stack in `.local/stack.env`; raises DemoError where it goes wrong."""
    stack = {name: value or "" for name, value in dotenv_values(STACK_ENV).items()}
    if "GATEWAY_URL" not in stack:
        raise DemoError("no running stack found; start it with: make up")
    if not stack.get("SIMULATOR_URL"):
        raise NoSimulatorError(
            "the demo needs the simulator, and this stack publishes to the real TikTok. To see it: make down, then make demo"
            " without TIKTOK_API_URL and TIKTOK_AUTHORIZE_URL in the environment"
        )
    cuepost = Cuepost(stack["GATEWAY_URL"], stack["SIMULATOR_URL"])
    report.step(f"register {cuepost.register()}")
    show_access(cuepost)
    creator = cuepost.make_creator()
    account_id = cuepost.connect(creator)
    _show_account(cuepost, creator, account_id)
    with tempfile.TemporaryDirectory(prefix="cuepost-demo-") as folder:
        video = make_video(Path(folder) / "demo.mp4")
        report.step(f"made a real mp4: {video.size_bytes:,} bytes, sha256 {video.sha256[:16]}...")
        media = _upload(cuepost, video)
    async with watching(stack["AMQP_URL"]) as events:
        due_at, post_id = _schedule(cuepost, account_id, media["id"])
        started = await _follow(events, post_id, due_at)
    await _prove(cuepost, creator, video, post_id, started)


def _show_account(cuepost: Cuepost, creator: Creator, account_id: str) -> None:
    account, may = cuepost.account(account_id), cuepost.creator_info(account_id)
    report.step(f"connected TikTok account @{creator.username} (simulated) as {account_id}")
    report.result("account", f"{account['status']}, {account['follower_count']:,} followers")
    report.result("all accounts", _accounts_line(cuepost))
    report.result(
        "access", f"until {account['token_expires_at']}, renewed ahead of it; granted: {', '.join(account['scopes'])}"
    )
    report.result("may post as", ", ".join(may["privacy_level_options"]))
    if account["status"] != "active":
        raise DemoError("a freshly connected account must be active")


def _accounts_line(cuepost: Cuepost) -> str:
    """Return the user's accounts in a line: which the list shows, and the summary."""
    listed, summary = cuepost.accounts(), cuepost.accounts_summary()
    names = ", ".join(f"@{account['username']}" for account in listed["items"])
    return f"{summary['active_accounts']} of {summary['total_accounts']} active ({names}), {summary['total_followers']:,} followers"


def _upload(cuepost: Cuepost, video: Video) -> dict[str, Any]:
    began = time.monotonic()
    media = cuepost.upload(video.path)
    seconds = time.monotonic() - began
    speed = video.size_bytes / seconds / 1e6
    report.step(
        f"uploaded and probed in {seconds:.2f} s ({speed:.0f} MB/s): {media['width']}x{media['height']}, {media['status']}"
    )
    if media["sha256"] != video.sha256:
        raise DemoError("the media library has another sha256 than the file")
    return media


def _schedule(cuepost: Cuepost, account_id: str, media_id: str) -> tuple[datetime, str]:
    due_at = datetime.now(UTC) + LEAD
    post = cuepost.schedule(
        {
            "tiktok_account_id": account_id,
            "media_id": media_id,
            "caption": "Published by Cuepost",
            "hashtags": ["cuepost", "ontime"],
            "privacy_level": "PUBLIC_TO_EVERYONE",
            "scheduled_time": due_at.isoformat(),
        }
    )
    report.step(f"scheduled post {post['id']} for {due_at:%H:%M:%S.%f} UTC; watching every event of it live:")
    return due_at, post["id"]


async def _follow(events: "asyncio.Queue[dict[str, Any]]", post_id: str, due_at: datetime) -> dict[str, Any]:
    """Print each event of the post until it ends; returns the PublishStarted event."""
    seen: dict[str, dict[str, Any]] = {}
    try:
        async with asyncio.timeout(PATIENCE_S):
            # Events come in any order: the end may be told before the start.
            while not ENDS & seen.keys() or (PUBLISHED in seen and STARTED not in seen):
                envelope = await events.get()
                if envelope["subject"] == post_id:
                    report.event(envelope, due_at)
                    seen[envelope["type"].removeprefix("cuepost.").removesuffix(".v1")] = envelope
    except TimeoutError:
        raise DemoError(f"the post did not end within {PATIENCE_S:.0f} s; last seen: {', '.join(seen) or 'nothing'}") from None
    if PUBLISHED not in seen:
        raise DemoError("the post ended, but not as published")
    return seen[STARTED]


async def _prove(cuepost: Cuepost, creator: Creator, video: Video, post_id: str, started: dict[str, Any]) -> None:
    detail = await _complete_detail(cuepost, post_id)
    report.timeline(detail["execution_logs"])
    post, lateness = detail["post"], float(started["data"]["lateness_ms"])
    publications = cuepost.publications(creator)
    report.step("result")
    report.result("status", post["status"])
    report.result("public URL", post["video_url"] or "(not public yet)")
    report.result("lateness", f"{lateness:.1f} ms (PublishStarted minus due time)")
    _show_statistics(cuepost, post["tiktok_account_id"])
    report.result(
        "ledger publications", f"{len(publications)} with sha256 {', '.join(str(p['sha256'])[:16] for p in publications)}..."
    )
    if post["status"] != "published":
        raise DemoError(f"GET /posts/{{id}}/detail says {post['status']}")
    if len(publications) != 1 or publications[0]["sha256"] != video.sha256:
        raise DemoError("the ledger must have exactly one publication with the file's sha256")
    if not 0 <= lateness <= MAX_LATENESS_MS:
        raise DemoError(f"lateness {lateness:.1f} ms is not within 0 and {MAX_LATENESS_MS:.0f} ms")


def _show_statistics(cuepost: Cuepost, account_id: str) -> None:
    """Print the account's figures if they are there already; they follow a moment after the account was connected."""
    try:
        answer = cuepost.request("GET", f"/api/v1/analytics/accounts/{account_id}/stats", timeout=1)
        figures = answer.raise_for_status().json()
    except httpx.HTTPError:
        return
    if figures["collected_at"] is not None:
        report.result("statistics", f"{figures['follower_count']:,} followers at {figures['collected_at'][11:19]} UTC")


async def _complete_detail(cuepost: Cuepost, post_id: str) -> dict[str, Any]:
    """Return the detail once analytics has stored the last event and the video's URL is known (both arrive in parallel)."""
    deadline = time.monotonic() + 15
    while True:
        detail = cuepost.detail(post_id)
        known = {item["type"] for item in detail["execution_logs"]}
        complete = any("published" in name for name in known) and detail["post"]["video_url"]
        if complete or time.monotonic() > deadline:
            return detail
        await asyncio.sleep(0.5)


def main() -> None:
    """Run and exit with 0, or say what failed and exit with 1; with 2 when the stack has no simulator."""
    began = time.monotonic()
    try:
        asyncio.run(demonstrate())
    except (DemoError, httpx.HTTPError, OSError) as error:
        report.failure(str(error) or type(error).__name__)
        sys.exit(2 if isinstance(error, NoSimulatorError) else 1)
    report.step(f"exactly one publication, same bytes, on time; the demo took {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
