"""`make chaos` in small, on the stack of all system tests: some rows of its tables, and a storm of a dozen posts with a death."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.attempts import delivered_again, late_order
from chaos.content import ContentMaker
from chaos.crash_folder import CrashFolder
from chaos.matrix import ROWS, run_row
from chaos.plan import plan
from chaos.site import Site
from chaos.storm import Storm
from system.folder_host import folder_host
from system.operator import Operator

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

SEED = 20
ROWS_HERE = {"file: after_init_answer", "file: mid_chunk:0", "pull: after_init_answer", "photo: while_polling"}


@pytest.fixture
def site(operator: Operator, crash_points: Path, tmp_path: Path) -> Iterator[Site]:
    crash = CrashFolder(crash_points)
    with folder_host(tmp_path) as address:
        yield Site(operator, ContentMaker(tmp_path, SEED), crash, address)
    crash.disarm()


@pytest.mark.parametrize("name", sorted(ROWS_HERE))
def test_a_row_of_the_crash_matrix(site: Site, name: str) -> None:
    (row,) = [row for row in ROWS if row.name == name]
    finding = run_row(site, row)
    assert finding.broken == ()
    assert finding.state in row.states


def test_orders_of_attempts_that_come_late_and_again(site: Site) -> None:
    findings = [late_order(site), delivered_again(site)]
    assert [(finding.broken, finding.state, finding.publications) for finding in findings] == [((), "published", 1)] * 2


def test_a_small_storm(site: Site) -> None:
    """Three posts of an account: even with the repeats of what goes wrong nobody waits a minute for TikTok's limit of inits."""
    planned = plan(SEED, posts=12, accounts=4, kills=1, spread=3.0, brief=True)
    report = Storm(site, planned, SEED, seconds=240, say=lambda _: None).run()
    assert report.broken == []
    assert len(report.deaths) == 1
    assert len(report.posts) == 12 + planned.visitors
    assert report.states()["published"] >= 3
