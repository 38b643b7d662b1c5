"""Where the local stack keeps its files: everything lies below `<root>/.local/`."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""The repository this package belongs to; its code is what the stack runs."""

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin"
"""Where started programs look for others."""

DATA_NAMES = (
    "audit_head",
    "checked.json",
    "configured.json",
    "encryption_key",
    "log",
    "migrated",
    "postgres",
    "postgres.json",
    "programs",
    "rabbitmq",
    "run",
    "secrets.json",
    "simulator",
    "stack.env",
    "stack.json",
    "storage",
)
"""What `reset` removes from `.local/`; the tools of the bootstrap stay."""


@dataclass(frozen=True)
class Paths:
    """The folders and files of one stack, by its root folder."""

    root: Path

    @property
    def local(self) -> Path:
        """The stack's own folder."""
        return self.root / ".local"

    @property
    def run(self) -> Path:
        """Supervisor's configuration, socket and the records of started processes."""
        return self.local / "run"

    @property
    def programs(self) -> Path:
        """One private file per program: command line, environment, user."""
        return self.local / "programs"

    @property
    def log(self) -> Path:
        """One log per process, rotated."""
        return self.local / "log"

    @property
    def rabbitmq(self) -> Path:
        """Home, data and configuration of the private broker."""
        return self.local / "rabbitmq"

    @property
    def storage(self) -> Path:
        """The default object storage of uploads."""
        return self.local / "storage"

    @property
    def simulator(self) -> Path:
        """What the TikTok simulator keeps on disk."""
        return self.local / "simulator"

    @property
    def secrets(self) -> Path:
        """Generated passwords and keys, readable by the owner only."""
        return self.local / "secrets.json"

    @property
    def audit_head(self) -> Path:
        """The end of the audit trail that was proven last."""
        return self.local / "audit_head"

    @property
    def encryption_key(self) -> Path:
        """The encryption keys as accounts follows them: a copy of the secrets' own."""
        return self.local / "encryption_key"

    @property
    def state(self) -> Path:
        """The effective configuration of the last `up` that succeeded: addresses, overrides, replicas."""
        return self.local / "stack.json"

    @property
    def configured(self) -> Path:
        """Like `state`, of the last `up` that touched anything, whether it succeeded or not."""
        return self.local / "configured.json"

    @property
    def checked(self) -> Path:
        """Digests of the environments whose settings were found good."""
        return self.local / "checked.json"

    @property
    def stack_env(self) -> Path:
        """Addresses and keys for scripts."""
        return self.local / "stack.env"

    @property
    def lock(self) -> Path:
        """Held by whichever command changes the stack."""
        return self.local / "stack.lock"

    @property
    def postgres_record(self) -> Path:
        """Says where the database lives when that is not below `.local/`."""
        return self.local / "postgres.json"

    @property
    def migrated(self) -> Path:
        """One stamp per service: which migrations its database has."""
        return self.local / "migrated"

    def create(self) -> None:
        """Make the folders. `.local` itself can be passed through, but not listed, by other users."""
        self.local.mkdir(parents=True, exist_ok=True)
        self.local.chmod(0o711)
        for folder in (self.run, self.programs, self.log, self.rabbitmq, self.storage, self.simulator, self.migrated):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; nobody but the owner can read it at any moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
