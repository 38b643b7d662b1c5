"""The judge of `make chaos` notices each kind of broken promise, and the storm's plan is the seed's alone."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos.__main__ import parsed, print_storm
from chaos.attempts import AGAIN, IS_LIVE, MAYBE_LIVE, wrong_answers
from chaos.content import ContentMaker
from chaos.crash_folder import CrashFolder
from chaos.judge import Posted, count, judge, judge_breaking, judge_whole
from chaos.matrix import ROWS
from chaos.plan import SERVERS, plan
from chaos.site import Mode, Order
from chaos.storm import Report, reasons_of
from tiktok_simulator.faults import DOWNLOAD, PROCESSING, UPLOAD_FAULT, WEBHOOK, Fault
from tiktok_simulator.paths import API_PATHS, CONTENT_INIT, INBOX_INIT, VIDEO_INIT

POST = Posted("post-1", "ann", "a title", "aa", "published", publish_id="p1")


def item(**changes: Any) -> dict[str, Any]:
    fields = {"publish_id": "p1", "open_id": "ann", "title": "a title", "sha256": "aa", "status": "PUBLISH_COMPLETE"}
    return {**fields, "fail_reason": None, **changes}


def promises(post: Posted, *items: dict[str, Any]) -> list[str]:
    return [broken.promise for broken in judge([post], items)]


def test_one_publication_of_the_right_bytes_is_what_was_promised() -> None:
    assert promises(POST, item()) == []
    assert promises(replace(POST, state="sent_to_inbox", title=""), item(status="SEND_TO_USER_INBOX", title="")) == []


def test_inits_without_bytes_and_refused_ones_are_no_publications() -> None:
    assert promises(POST, item(), item(publish_id="p0", sha256=None), item(publish_id="p2", status="FAILED")) == []


def test_a_publication_twice() -> None:
    twice = (item(), item(publish_id="p2"))
    assert promises(POST, *twice) == ["published 2 times"]
    assert promises(replace(POST, state="unconfirmed"), *twice) == ["published 2 times"]
    assert count(POST, twice) == 2


def test_wrong_bytes() -> None:
    broken = judge([POST], [item(sha256="bb")])
    assert [(one.post_id, one.promise.split(":")[0]) for one in broken] == [
        ("post-1", "published, but the ledger has no publication of these bytes"),
        ("post-1", "publication p1 has bytes that nobody ordered"),
    ]
    assert judge([], [item()])[0].post_id == ""


def test_the_bytes_at_another_creator_are_wrong_too() -> None:
    assert len(promises(POST, item(open_id="bob"))) == 2


def test_a_lost_post_and_one_without_an_end() -> None:
    assert promises(replace(POST, state=""), item()) == ["lost: the product does not know it any more"]
    assert promises(replace(POST, state="publishing")) == ["did not end: publishing"]


def test_published_without_a_publication_or_by_another_name() -> None:
    assert promises(POST) == ["published, but the ledger has no publication of these bytes"]
    assert promises(replace(POST, publish_id="p9"), item()) == ["tells another publication than the ledger: p9"]
    assert promises(replace(POST, publish_id=None), item()) == []


@pytest.mark.parametrize("items", [[], [item()]])
def test_unconfirmed_may_be_live_or_not(items: list[dict[str, Any]]) -> None:
    assert promises(replace(POST, state="unconfirmed"), *items) == []


def storm(**states: int) -> list[Posted]:
    return [replace(POST, state=state, is_uploaded=True) for state, number in states.items() for _ in range(number)]


def whole(posts: list[Posted], stuck: int = 0) -> list[str]:
    return [broken.promise for broken in judge_whole(posts, stuck=stuck)]


@pytest.mark.parametrize(
    ("published", "unconfirmed", "failed"), [(187, 3, 10), (186, 5, 9), (156, 7, 37), (6, 1, 5), (0, 0, 1), (0, 1, 0)]
)
def test_a_storm_that_went_well_as_a_whole(published: int, unconfirmed: int, failed: int) -> None:
    assert whole(storm(published=published, unconfirmed=unconfirmed, failed=failed)) == []


def test_a_storm_of_which_too_little_was_published() -> None:
    assert whole(storm(published=155, failed=45)) == ["only 155 of 200 posts were published, not 156"]
    assert whole(storm(published=100, sent_to_inbox=56, failed=44)) == []
    assert whole(storm(published=5, failed=7)) == ["only 5 of 12 posts were published, not 6"]


def test_a_storm_with_too_many_files_of_unknown_outcome() -> None:
    posts = storm(published=192, unconfirmed=8)
    assert whole(posts) == ["8 of 200 uploaded files are unconfirmed, more than 7"]
    assert whole(posts, stuck=1) == []
    assert whole([replace(post, is_uploaded=post.state == "published") for post in posts]) == []
    assert whole([replace(post, may_be_cancelled=post.state == "unconfirmed") for post in posts]) == []


DIED = ["rabbitmq", "at after_fetch", "publisher-2", "postgres"]
FAULTS = {"/a/": (3, 1), "/b/": (0, 0)}


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"planned": ["the replica at work", "at mid_chunk:0"], "deaths": ["publisher-1", "at mid_chunk:0"]}, []),
        (
            {"deaths": [DIED[0], *DIED[2:]], "unmet": ["after_fetch"]},
            ["only 3 of 4 deaths happened: nobody came to after_fetch"],
        ),
        ({"deaths": DIED[:3]}, ["postgres was to be killed and never was", "only 3 of 4 deaths happened"]),
        (
            {"deaths": ["a", "b", "c", "d"]},
            [f"{server} was to be killed and never was" for server in ("rabbitmq", "postgres")],
        ),
        ({"faults": {**FAULTS, "/c/": (2, 0)}}, ["/c/: none of 2 calls went wrong that were to"]),
        ({"faults": {**FAULTS, "/v2/video/query/": (2, 0), "/v2/post/publish/cancel/": (1, 0)}}, []),
    ],
)
def test_a_storm_that_did_not_storm_is_a_broken_promise(
    changes: dict[str, Any], missed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stormed: dict[str, Any] = {"planned": DIED, "deaths": DIED, "unmet": [], "faults": FAULTS, **changes}
    assert [one.promise for one in judge_breaking(**stormed, servers=SERVERS)] == missed
    report = Report(posts=[], orders=[], broken=[], connected_again=0, seconds=1.0, **stormed)
    broken: list[bool] = []
    options = Namespace(posts=0, accounts=1, kills=len(DIED))
    print_storm(report, options, _NoEvidence(), broken)  # type: ignore[arg-type]
    assert broken == ([True] if missed else [])
    assert "; ".join(missed) in capsys.readouterr().out


class _NoEvidence:
    def keep(self, broken: list[Any], order: Order | None) -> Path:
        assert broken
        assert order is None
        return Path("nowhere")


def test_cancelled_is_an_end_only_for_who_wanted_it_and_only_without_a_publication() -> None:
    cancelled = replace(POST, state="cancelled")
    assert promises(cancelled) == ["did not end: cancelled"]
    wanted = replace(cancelled, may_be_cancelled=True)
    assert promises(wanted, item(status="FAILED", fail_reason="publish_cancelled")) == []
    assert promises(wanted, item()) == ["cancelled, but it is live"]


def test_a_failure_is_judged_by_its_reason() -> None:
    failed = replace(POST, state="failed", error_code="tiktok_spam")
    untrue = ["failed with a reason that is not true: tiktok_spam"]
    assert promises(failed) == untrue
    assert promises(replace(failed, reasons=frozenset({"tiktok_spam"}))) == []
    assert promises(failed, item(status="FAILED", fail_reason="spam")) == []
    assert promises(failed, item(status="FAILED", fail_reason="other")) == untrue
    assert promises(failed, item(status="FAILED", fail_reason="spam", title="b", publish_id="p2")) == untrue
    assert promises(replace(failed, reasons=frozenset({"tiktok_spam"})), item()) == ["failed, but it is live"]


def test_refusals_that_pass_may_end_no_post() -> None:
    passing = ("access_token_invalid", "rate_limit_exceeded", "spam_risk_user_banned_from_posting")
    faults: list[dict[str, Any]] = [{"code": code} for code in (*passing, "spam_risk")]
    faults += [{"fail_reason": "internal"}, {"status": 500}]
    assert reasons_of(faults, Mode.FILE) == {"tiktok_spam_risk"}
    assert reasons_of(faults, Mode.INBOX) == {"tiktok_spam_risk", "tiktok_internal"}


def test_a_plan_is_its_seeds_alone() -> None:
    sizes = {"posts": 200, "accounts": 20, "kills": 30, "spread": 30.0}
    assert plan(7, **sizes) == plan(7, **sizes)
    assert plan(7, **sizes) != plan(8, **sizes)
    made = plan(7, **sizes)
    assert [len(made.posts), len(made.deaths)] == [200, 30]
    assert {account for account, _, _ in made.posts} == set(range(20))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("posts", "accounts"), [(1, 1), (30, 5), (200, 20)])
@pytest.mark.parametrize("brief", [False, True])
def test_every_endpoint_of_tiktok_gets_faults(seed: int, posts: int, accounts: int, brief: bool) -> None:
    made = plan(seed, posts=posts, accounts=accounts, kills=0, spread=1.0, brief=brief)
    wanted = {*API_PATHS, UPLOAD_FAULT, DOWNLOAD, PROCESSING, WEBHOOK}
    assert {fault["endpoint"] for _, fault in made.faults} == wanted
    assert {number for number, _ in made.faults} == set(range(made.accounts + made.visitors))
    for _, fault in made.faults:
        Fault.model_validate(fault)


@pytest.mark.parametrize("seed", range(20))
def test_all_ways_of_publishing_are_there_and_their_inits_go_wrong(seed: int) -> None:
    made = plan(seed, posts=20, accounts=4, kills=0, spread=5.0, brief=True)
    for mode, call in {Mode.INBOX: INBOX_INIT, Mode.PHOTO: CONTENT_INIT, Mode.FILE: VIDEO_INIT}.items():
        users = {account for account, used, _ in made.posts if used is mode}
        assert users & {account for account, fault in made.faults if fault["endpoint"] == call}


@pytest.mark.parametrize("seed", range(20))
def test_both_servers_die_in_the_first_half_of_a_storm(seed: int) -> None:
    for kills in (4, 6, 30):
        made = plan(seed, posts=200, accounts=20, kills=kills, spread=30.0)
        assert len(made.deaths) == kills
        assert {death.program for death in made.deaths[: kills // 2]} >= set(SERVERS)


def test_a_brief_storm_waits_for_nothing_that_takes_a_minute() -> None:
    for seed in range(20):
        made = plan(seed, posts=20, accounts=4, kills=1, spread=5.0, brief=True)
        assert [fault for _, fault in made.faults if "stuck" in fault or fault.get("status") in {403, 429}] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["matrix", "--only", "while_poling"], ("while_poling", "photo: while_polling")),
        (["matrix", "--only", "strayed"], ("strayed",)),
        (["storm", "--only", "pull"], ("they have none",)),
        (["matrices"], ("matrices", "matrix, attempts, storm")),
    ],
)
def test_what_is_not_there_is_no_promise_kept(
    arguments: list[str], told: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert [word for word in told if word not in said] == []


def test_rows_are_chosen_by_a_part_of_their_name() -> None:
    assert parsed([]).part == ["matrix", "attempts", "storm"]
    for only in ("pull: while_polling", "strayed"):
        assert parsed(["matrix", "attempts", "--only", only]).only == only


def test_whoever_dies_while_polling_has_the_publish_id_stored() -> None:
    rows = [row for row in ROWS if row.point == "while_polling"]
    assert len(rows) == 3
    assert all("unconfirmed" not in row.states for row in rows)


def test_an_answer_to_a_retry_is_judged() -> None:
    again = httpx.Response(200, json={"status": "retry_scheduled"})
    live = httpx.Response(200, json={"status": "published"})
    too_early = httpx.Response(409, json={"code": "retry_too_early", "status": 409})
    assert wrong_answers(AGAIN, again) == []
    assert wrong_answers(IS_LIVE, live) == wrong_answers(MAYBE_LIVE, live, too_early) == []
    assert wrong_answers(IS_LIVE, live, again) == ["/retry was answered with retry_scheduled"]
    assert wrong_answers(AGAIN, too_early) == ["/retry was answered with retry_too_early"]


def test_contents_are_all_different_and_again_the_same_by_seed(tmp_path: Path) -> None:
    hashes = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        maker = ContentMaker(folder, seed=3)
        hashes.append([content.sha256 for content in (maker.video(), maker.video(), maker.photo(), maker.photo())])
    assert hashes[0][:2] == hashes[1][:2]
    assert len(set(hashes[0])) == 4


def test_crash_points_are_armed_and_disarmed(tmp_path: Path) -> None:
    folder = CrashFolder(tmp_path / "points")
    folder.arm("mid_chunk:0")
    assert folder.armed() == ["mid_chunk:0"]
    folder.disarm()
    assert folder.armed() == []
