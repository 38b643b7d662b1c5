"""`make chaos`: break a stack of its own at every point and at random; exit code 1 when a promise was broken."""

import argparse
import logging
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos.attempts import TRIALS
from chaos.evidence import Evidence
from chaos.ground import FOLDER, ground
from chaos.matrix import ROWS, run_row
from chaos.plan import plan
from chaos.site import Finding, Site
from chaos.storm import Report, Storm
from chaos.table import table

PARTS = ("matrix", "attempts", "storm")
HEADS = ("point", "replicas", "ledger entries", "publications", "state", "")


def main() -> int:
    """Run the chosen parts and return the exit code."""
    options = parsed(sys.argv[1:])
    for noisy in ("aio_pika", "aiormq"):
        # RabbitMQ is killed on purpose, and whoever records the events connects again by itself.
        logging.getLogger(noisy).setLevel(logging.CRITICAL + 1)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    parts = options.part
    print(f"seed {seed}; {', '.join(parts)}; {options.replicas} publishers", flush=True)
    broken: list[bool] = []
    with ground(seed, replicas=options.replicas, patience=options.patience, keep=broken) as site:
        evidence = Evidence(site, FOLDER / "evidence" / str(seed), seed)
        if "matrix" in parts:
            rows = [row for row in ROWS if options.only in row.name]
            _print_findings("Crash matrix", [_said(run_row(site, row)) for row in rows], evidence, broken)
        if "attempts" in parts:
            trials = [trial for name, trial in TRIALS.items() if options.only in name]
            _print_findings("Attempts", [_said(trial(site)) for trial in trials], evidence, broken)
        if "storm" in parts:
            _storm(site, seed, options, evidence, broken)
    if broken:
        print(f"\nbroken; logs and evidence are in {FOLDER}")
        return 1
    print("\nevery promise was kept")
    return 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with 2 where a part or row is not known, since nothing done is no promise kept."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.part = options.part or list(PARTS)
    unknown = [part for part in options.part if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    names = {"matrix": [row.name for row in ROWS], "attempts": list(TRIALS)}
    rows = [name for part in options.part for name in names.get(part, [])]
    if options.only and not any(options.only in name for name in rows):
        parser.error(
            f"no row of {', '.join(options.part)} has {options.only!r} in its name: {', '.join(rows) or 'they have none'}"
        )
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"which of {', '.join(PARTS)}; all without")
    parser.add_argument("--seed", type=int, help="decides modes, faults and deaths; printed, drawn when not given")
    parser.add_argument("--only", default="", help="rows of the tables whose name has this in it")
    parser.add_argument("--posts", type=_number(1, 2_000), default=200)
    parser.add_argument("--accounts", type=_number(1, 100), default=20)
    parser.add_argument("--replicas", type=_number(1, 9), default=3, help="of the publisher")
    parser.add_argument("--kills", type=_number(0, 1_000), default=30)
    parser.add_argument("--seconds", type=_number(10, 7_200), default=900, help="how long the storm's posts may take to end")
    parser.add_argument("--patience", type=_number(10, 3_600), default=180, help="seconds for one row's post to end")
    return parser


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"{lowest} to {highest}")
        return number

    return parse


def _said(finding: Finding) -> Finding:
    print(f"  {time.strftime('%H:%M:%S')} {finding.name}: {finding.state}", flush=True)
    return finding


def _print_findings(title: str, findings: list[Finding], evidence: Evidence, broken: list[bool]) -> None:
    rows = []
    for finding in findings:
        verdict = "; ".join(item.promise for item in finding.broken)
        rows.append((finding.name, finding.replicas, finding.ledger, finding.publications, finding.state, verdict or "kept"))
        if finding.broken:
            broken.append(True)
            _tell_kept(evidence.keep(list(finding.broken), finding.order))
    print(f"\n{title}\n\n{table(HEADS, rows)}\n", flush=True)


def _storm(site: Site, seed: int, options: argparse.Namespace, evidence: Evidence, broken: list[bool]) -> None:
    planned = plan(seed, posts=options.posts, accounts=options.accounts, kills=options.kills, spread=30.0)
    report = Storm(site, planned, seed, seconds=options.seconds, say=_say).run()
    print_storm(report, options, evidence, broken)


def print_storm(report: Report, options: argparse.Namespace, evidence: Evidence, broken: list[bool]) -> None:
    """Tell how a storm ended; each broken promise is added to `broken`, and so is what was to be broken and was not."""
    print(f"\nStorm: {_told(report, options)}\n")
    print(table(("state", "posts"), sorted(report.states().items())))
    print()
    rows = [(endpoint, ordered, happened) for endpoint, (ordered, happened) in report.faults.items()]
    print(table(("faults of", "ordered", "happened"), rows))
    orders = {order.post_id: order for order in report.orders}
    found = [*report.broken, *report.missed()]
    for post_id in dict.fromkeys(item.post_id for item in found):
        broken.append(True)
        of_post = [item for item in found if item.post_id == post_id]
        print(f"\nBROKEN {post_id or '(no post)'}: {'; '.join(item.promise for item in of_post)}")
        _tell_kept(evidence.keep(of_post, orders.get(post_id)))


def _told(report: Report, options: argparse.Namespace) -> str:
    deaths = ", ".join(report.deaths) or "none"
    unmet = f"; nobody came to {', '.join(report.unmet)}" if report.unmet else ""
    text = (
        f"{options.posts} posts, {options.accounts} accounts, {len(report.ledger)} inits in the ledger, {report.seconds:.0f} s"
    )
    again = f"accounts connected again by their owners: {report.connected_again}"
    return f"{text}\ndeaths ({len(report.deaths)} of {options.kills}): {deaths}{unmet}\n{again}"


def _tell_kept(path: Path) -> None:
    print(f"  kept in {path}", flush=True)


def _say(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
