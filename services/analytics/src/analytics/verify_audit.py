"""`python -m analytics.verify_audit [SEQ:HASH ...] [--keep FILE]`: proves the audit trail, in the environment of analytics.

Ends with 0 when all of it holds, 1 with the first record that does not, 2 when it could not look. It prints the head it came to;
given again later, as SEQ:HASH, it also proves that the end of the trail was not cut off and written anew since. With `--keep` it
keeps the head in a file and takes the one that it kept there before as known. Where the database keeps months for longer than
EVENT_RETENTION_DAYS, it says so first (`analytics.audit_retention` shortens it).
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from analytics.domain.chain import Broken
from analytics.domain.record import GENESIS, Head
from analytics.settings import Settings
from analytics.storage.months import kept_days
from analytics.usecases.verify_audit import Proof, verify_audit
from common.database import Database
from common.settings import load

HOLDS, BROKEN, UNKNOWN = 0, 1, 2


def head_of(written: str) -> Head:
    """Return the head that is written as SEQ:HASH; raises ValueError."""
    seq, separator, digest = written.partition(":")
    head = Head(int(seq), bytes.fromhex(digest))
    if not separator or len(head.hash) != len(GENESIS.hash):
        raise ValueError(written)
    return head


def lines_of(proof: Proof) -> list[str]:
    """Return what the operator reads."""
    lines = []
    if proof.dropped:
        lines.append(f"{proof.dropped} older months were dropped, each with a signed checkpoint")
    if proof.first_at is not None and proof.last_at is not None:
        span = f"written from {proof.first_at:%Y-%m-%d %H:%M:%S} to {proof.last_at:%Y-%m-%d %H:%M:%S} UTC"
        lines.append(f"{proof.records} records hold, {proof.head.seq - proof.records + 1} to {proof.head.seq}, {span}")
    else:
        lines.append("no records")
    lines += [f"{_text(head)} lies in a dropped month: a checkpoint vouches for it, not its record" for head in proof.unseen]
    return [*lines, f"head {_text(proof.head)}"]


def _about_retention(kept: int, wanted: int) -> list[str]:
    if kept <= wanted:
        return []
    return [f"months are kept for {kept} days: the database was told so before EVENT_RETENTION_DAYS was {wanted}"]


def _text(head: Head) -> str:
    return f"{head.seq}:{head.hash.hex()}"


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="audit-verify", description="Prove that the audit trail was not changed.")
    parser.add_argument("known", nargs="*", type=head_of, metavar="SEQ:HASH", help="a head that this command printed before")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where this command keeps the head that it comes to")
    return parser.parse_args(arguments)


def _kept(keep: Path | None) -> list[Head]:
    return [head_of(keep.read_text(encoding="ascii"))] if keep is not None and keep.exists() else []


def _keep(keep: Path, head: Head) -> None:
    """Write it whole: an interruption leaves the earlier one."""
    new = keep.with_name(f".{keep.name}.new")
    new.write_text(_text(head), encoding="ascii")
    new.replace(keep)


async def run(settings: Settings, known: Sequence[Head], keep: Path | None = None) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print."""
    known = [*known, *_kept(keep)]
    database = Database(settings.database_url, application_name="analytics-verify", pool_size=1)
    try:
        async with database.read() as connection:
            proof = await verify_audit(connection, trusted=settings.audit_public_keys, known=known)
            kept = await kept_days(connection)
    except Broken as broken:
        return BROKEN, [f"BROKEN: {broken}"]
    finally:
        await database.stop()
    if keep is not None and proof.head != GENESIS:
        _keep(keep, proof.head)
    return HOLDS, [*_about_retention(kept or 0, settings.event_retention_days), *lines_of(proof)]


def main() -> int:
    """Run from the command line."""
    asked = _asked(sys.argv[1:])
    try:
        code, lines = asyncio.run(run(load(Settings), asked.known, asked.keep))
    except Exception as error:  # noqa: BLE001 - told by its kind: its text may hold an address
        code, lines = UNKNOWN, [f"could not look: {type(error).__name__}"]
    (sys.stdout if code == HOLDS else sys.stderr).write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
