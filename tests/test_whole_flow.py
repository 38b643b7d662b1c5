"""The main job through the whole system, and what its users see of it."""

import json
from pathlib import Path

import jsonschema
import pytest

from demo import __main__ as demo_program
from demo.video import Video, make_video
from localstack.rabbitmq import broker_url
from localstack.service_environment import public_url
from system.operator import Operator
from system.waiting import wait_for

SCHEMAS = Path(__file__).parents[1] / "docs/schemas"

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return make_video(tmp_path_factory.mktemp("video") / "big.mp4")


def test_a_video_is_published_once_on_time_and_explained(operator: Operator, video: Video) -> None:
    account, creator = operator.account()
    post = operator.schedule(account, operator.media(video.path))
    started = operator.wait_event(post, "publisher.publish.started")
    assert operator.wait_final(post) == "published"
    publications = operator.publications(creator)
    assert [item["sha256"] for item in publications] == [video.sha256]
    assert len(operator.ledger(creator)) == 1
    # How late is measured by `make demo` and the benchmarks, on a machine that does nothing else.
    assert started["data"]["lateness_ms"] >= 0
    detail = wait_for("the timeline", lambda: _told(operator, post))
    types = [item["type"] for item in detail["execution_logs"]]
    assert [detail["attached_media"][0]["sha256"]] == [video.sha256]
    for earlier, later in [
        ("post.scheduled", "post.due"),
        ("post.due", "publish.started"),
        ("publish.started", "post.published"),
    ]:
        assert _position(types, earlier) < _position(types, later)
    told = {item["type"]: item for item in detail["execution_logs"]}
    assert told["publish.started"]["replica"].startswith("publisher-")
    assert told["publish.started"]["details"]["lateness_ms"] >= 0
    for lasting in ("post.due", "publish.started", "publish.submitted"):
        assert told[lasting]["details"]["duration_ms"] >= 0
    assert told["publish.succeeded"]["details"]["log_id"], "TikTok's, of the status that said so"
    assert {step["status"] for step in detail["planning"]} == {"done"}
    _require_as_documented(operator.events.recorded().splitlines())


def _require_as_documented(events: list[bytes]) -> None:
    """Every event that was sent is one of docs/schemas."""
    assert events
    for event in map(json.loads, events):
        schema = json.loads((SCHEMAS / f"{event['type'].removeprefix('cuepost.')}.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(event)


def test_the_audit_trail_tells_of_it(operator: Operator, video: Video) -> None:
    account, _ = operator.account()
    post = operator.schedule(account, operator.media(video.path))
    assert operator.wait_final(post) == "published"
    actions = wait_for("the audit trail", lambda: (found := _actions(operator, post)) and "post.published" in found and found)
    assert {"post.scheduled", "post.due", "post.published"} <= set(actions)
    items = {item["action"]: item for item in operator.user.audit(object_id=post)["items"]}
    asked, due, published = items["post.scheduled"], items["post.due"], items["post.published"]
    assert (asked["actor"]["type"], asked["ip"], asked["user_agent"][:12]) == ("user", "127.0.0.1", "python-httpx")
    assert due["actor"]["type"] == "service"
    assert asked["correlation_id"] == due["correlation_id"] == published["correlation_id"]


def _told(operator: Operator, post: str) -> dict | None:  # type: ignore[type-arg]
    detail = operator.user.detail(post)
    return detail if any("post.published" in item["type"] for item in detail["execution_logs"]) else None


def _position(types: list[str], name: str) -> int:
    return next(index for index, kind in enumerate(types) if name in kind)


def _actions(operator: Operator, post: str) -> list[str]:
    return [item["action"] for item in operator.user.audit(object_id=post)["items"]]


def test_the_demo_does_it(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `make demo` runs, against this stack. It raises unless all was as it says; how late is no matter on a busy machine."""
    stack = operator.stack
    given = {
        "GATEWAY_URL": public_url(stack.blueprint),
        "SIMULATOR_URL": f"http://127.0.0.1:{stack.ports.simulator}",
        "AMQP_URL": broker_url(stack.secrets, stack.ports, "audit"),
    }
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/stack.env").write_text("".join(f"{name}={value}\n" for name, value in given.items()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo_program, "MAX_LATENESS_MS", 60_000)
    demo_program.main()
    said = capsys.readouterr().out
    for state in ("scheduled", "due", "publishing", "processing", "published"):
        assert f"  {state}" in said
    assert "exactly one publication, same bytes, on time" in said
