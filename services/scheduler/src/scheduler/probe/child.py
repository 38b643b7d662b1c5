"""The child process: takes away its own rights, reads one file, prints what it found, and ends.

`python -I -m scheduler.probe.child PATH SECONDS MEMORY_BYTES`. On stdout: one line of JSON, then the bytes of the thumbnail if
there is one. Exit status 0 in every case that the file itself causes, EX_NOPERM when this machine keeps nobody from its network:
then nothing was looked into. A crash, a kill by a limit or another exit status mean that the file could not be read.
"""

import json
import math
import os
import resource
import sys
from pathlib import Path
from typing import Any

from scheduler.probe.no_network import keep_from_network
from scheduler.probe.photo import look_into_photo, picture_format
from scheduler.probe.video import look_into_video

HEAD_BYTES = 16


def give_up_rights(seconds: float, memory_bytes: int) -> None:
    """Limit processor time and memory, forbid core dumps, writing files and the network; raises OSError where that cannot be."""
    cpu = max(1, math.ceil(seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    keep_from_network()


def look_into(path: str) -> tuple[dict[str, Any], bytes | None]:
    """Return the facts of the file at `path` and its thumbnail, or `{"error": code}` and None when it cannot be read."""
    import av

    av.logging.set_level(None)
    file = Path(path)
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
        kind = picture_format(head)
        return look_into_video(file) if kind is None else look_into_photo(file, kind)
    except (OSError, MemoryError):
        return {"error": "file_unreadable"}, None


def main() -> None:
    """Run from the command line."""
    path, seconds, memory_bytes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    try:
        give_up_rights(seconds, memory_bytes)
    except OSError:
        sys.exit(os.EX_NOPERM)
    facts, thumbnail = look_into(path)
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + (thumbnail or b""))


if __name__ == "__main__":
    main()
