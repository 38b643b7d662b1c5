"""Makes the passwords and keys of a container installation, once, and puts each where only its container sees it.

`provision.py FOLDER` fills `FOLDER/<container>/`, each a volume of its own mounted into that container alone: file names are
setting names, so services read them as `NAME_FILE`. The originals stay in `FOLDER/vault`; running it again changes nothing.
`provision.py FOLDER audit` prints the audit user's AMQP address with its password, for consumers on this machine;
`provision.py FOLDER audit-NAME` makes one more such user, after the broker has confirmed that the audit trail is told of it; that
user can come in once the broker has read its definitions again.
"""

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from localstack.audit_trail import tell_of_consumer
from localstack.definitions import definitions
from localstack.errors import StackError
from localstack.paths import Paths
from localstack.vault import DATABASE_OWNERS, DATABASE_SERVICES, SERVICES, keep_consumer, load_secrets

READABLE = 0o444
OWNER_ONLY = 0o400
RPC_SECRET_BYTES = 32
PASSWORD_BYTES = 24


def provision(folder: Path) -> None:
    """Write every file that is missing or out of date."""
    vault = _vault(folder)
    for service in SERVICES:
        for name, value in service_files(vault, service).items():
            _write(folder / service / name, value)
    for service in DATABASE_OWNERS:
        _write(folder / f"{service}-owner" / "DATABASE_URL", owner_url(vault, service))
    for role, password in vault["postgres"].items():
        _write(folder / "postgres" / role, password)
    _write(folder / "rabbitmq" / "definitions.json", json.dumps(definitions(vault["rabbitmq"]), indent=1))
    rpc_secret = folder / "storage" / "rpc_secret"
    if not rpc_secret.exists():
        # The store refuses a secret that others may read; its process is root in its container.
        _write(rpc_secret, secrets.token_hex(RPC_SECRET_BYTES), mode=OWNER_ONLY)
    admin_password = folder / "grafana" / "admin_password"
    if not admin_password.exists():
        _write(admin_password, secrets.token_urlsafe(PASSWORD_BYTES))


def service_files(vault: dict[str, Any], service: str) -> dict[str, str]:
    """Return the secret settings of a service by name."""
    files = {
        "AMQP_URL": f"amqp://{service}:{vault['rabbitmq'][service]}@rabbitmq:5672/",
        "SERVICE_PRIVATE_KEY": vault["service_keys"][service]["private"],
        "SERVICE_PUBLIC_KEYS": json.dumps({name: vault["service_keys"][name]["public"] for name in SERVICES}),
    }
    if service in DATABASE_SERVICES:
        files["DATABASE_URL"] = f"postgresql://{service}:{vault['postgres'][service]}@postgres:5432/{service}"
    if service == "accounts":
        files["ENCRYPTION_KEY"] = vault["encryption_key"]
    if service == "analytics":
        files["AUDIT_SIGNING_KEY"] = vault["audit_signing_key"]
    if service == "gateway":
        files["OPERATION_KEY"] = vault["operation_key"]
    return files


def owner_url(vault: dict[str, Any], service: str) -> str:
    """Return the address by which a database is migrated whose service may not do all that its owner may."""
    owner = DATABASE_OWNERS[service]
    return f"postgresql://{owner}:{vault['postgres'][owner]}@postgres:5432/{service}"


def audit_url(folder: Path, port: int, user: str = "audit") -> str:
    """Return the address by which a consumer, made when it is new, reaches the broker from this machine.

    Raises StackError for a user that is neither `audit` nor an `audit-NAME`, and when the audit trail cannot be told of a new one.
    """
    admin = f"amqp://admin:{_vault(folder)['rabbitmq']['admin']}@rabbitmq:5672/"
    password = keep_consumer(Paths(folder / "vault"), user, tell=lambda: tell_of_consumer(admin, user))
    return f"amqp://{user}:{password}@127.0.0.1:{port}/"


def _vault(folder: Path) -> dict[str, Any]:
    paths = Paths(folder / "vault")
    paths.local.mkdir(parents=True, exist_ok=True)
    return load_secrets(paths)


def _write(path: Path, text: str, *, mode: int = READABLE) -> None:
    """Replace the file whole, so that no container ever reads half of it."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.replace(path)


def main() -> None:
    """Run from the command line."""
    folder = Path(sys.argv[1])
    url = ""
    if len(sys.argv) > 2:
        try:
            url = audit_url(folder, int(sys.argv[3]) if len(sys.argv) > 3 else 5690, sys.argv[2]) + "\n"
        except StackError as error:
            sys.exit(str(error))
    provision(folder)
    sys.stdout.write(url)


if __name__ == "__main__":
    main()
