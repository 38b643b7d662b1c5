"""The broker's definitions: who may do what, checked as the broker checks it (regular expressions)."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from localstack.definitions import COMMANDS, EVENTS, SERVICES, definitions, is_consumer, password_hash, rights_of

USERS = (*SERVICES, "audit", "admin")
PASSWORDS = {user: f"password of {user}" for user in USERS}


def test_there_is_no_guest_and_only_admin_administers() -> None:
    users = {user["name"]: user for user in definitions(PASSWORDS)["users"]}
    assert set(users) == set(USERS)
    assert [name for name, user in users.items() if user["tags"]] == ["admin"]


def test_passwords_are_stored_as_rabbitmq_hashes_them() -> None:
    stored = base64.b64decode(password_hash("gateway", "secret"))
    assert stored[4:] == hashlib.sha256(stored[:4] + b"secret").digest()
    assert password_hash("accounts", "secret") != password_hash("gateway", "secret")
    assert "password of" not in json.dumps(definitions(PASSWORDS))


@pytest.mark.parametrize("user", SERVICES)
def test_a_service_reaches_its_own_queues_and_the_shared_exchanges_only(user: str) -> None:
    rights = rights_of(user)
    other = "scheduler" if user != "scheduler" else "publisher"
    for pattern in (rights.configure, rights.write, rights.read):
        assert re.search(pattern, f"{user}.commands")
        assert re.search(pattern, "cuepost.retry.5s")
        assert not re.search(pattern, f"{other}.commands")
        assert not re.search(pattern, f"x.{user}.commands")
        assert not re.search(pattern, "audit.mine")
    assert re.search(rights.write, "amq.default")
    assert bool(re.search(rights.write, COMMANDS)) == (user == "gateway")


@pytest.mark.parametrize("user", USERS)
def test_topic_permissions_exist_for_both_exchanges_because_none_would_mean_all(user: str) -> None:
    entries = {e["exchange"]: e for e in definitions(PASSWORDS)["topic_permissions"] if e["user"] == user}
    assert set(entries) == {EVENTS, COMMANDS}
    if user == "admin":
        return
    assert bool(re.search(entries[EVENTS]["write"], f"{user}.thing.done.v1")) == (user != "audit")
    assert not re.search(entries[EVENTS]["write"], "elsewhere.thing.done.v1")
    assert bool(re.search(entries[COMMANDS]["write"], "scheduler.create_post.v1")) == (user == "gateway")
    assert not re.search(entries[COMMANDS]["read"], "elsewhere.create_post.v1")


def test_each_consumer_has_names_of_its_own() -> None:
    users = ("audit", "audit-datateam", "audit-data-team", "audit-datateam2")
    for user in users:
        rights = rights_of(user)
        for pattern in (rights.configure, rights.write, rights.read):
            assert [other for other in users if re.search(pattern, f"{other}.queue")] == [user]
            assert not re.search(pattern, "scheduler.commands")
            assert not re.search(pattern, "amq.default")
        assert (rights.events_write, rights.commands_write, rights.commands_read) == ("^$", "^$", "^$")
        assert re.search(rights.read, EVENTS)
        assert not re.search(rights.write, EVENTS)


def test_a_consumer_is_named_so_that_its_name_means_nothing_else() -> None:
    for name in ("audit-", "audit-.*", "audit-a.b", "audit-A", "audit--a", "audit-a\n", "auditor", "scheduler", "admin"):
        assert not is_consumer(name), name


def test_accounts_may_tell_what_operators_did_with_its_commands() -> None:
    pattern = rights_of("accounts").events_write
    assert [bool(re.search(pattern, key)) for key in ("accounts.a.b.v1", "operator.action.v1")] == [True, True]
    refused = ("scheduler.post.due.v1", "xaccounts.a.v1", "operators.x", "operator.actions.v1", "operator.x.v1")
    assert not any(re.search(pattern, key) for key in refused)
    assert not re.search(rights_of("publisher").events_write, "operator.action.v1")


def test_queues_outside_our_control_are_bounded() -> None:
    """That of streams comes second: what it says, other queues would take, too (`test_audit_consumers.py` asks the broker)."""
    policies = sorted(definitions(PASSWORDS)["policies"], key=lambda policy: -int(policy["priority"]))
    for queue in ("audit.company", "audit-data-team.company"):
        bound, of_streams = [policy["definition"] for policy in policies if re.search(policy["pattern"], queue)]
        assert bound["overflow"] == "drop-head"
        assert bound["expires"] == 7 * 24 * 3600 * 1000
        assert (
            bound["max-length-bytes"] == of_streams["max-length-bytes"] > 4 * of_streams["stream-max-segment-size-bytes"] > 0
        )
    assert not [policy for policy in policies if re.search(policy["pattern"], "scheduler.commands")]


def test_the_module_prints_the_document_for_containers(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS), encoding="utf-8")
    command = [sys.executable, "-m", "localstack.definitions", str(passwords)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == definitions(PASSWORDS)
    passwords.write_text(json.dumps({"gateway": "x"}), encoding="utf-8")
    refused = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "accounts" in refused.stderr
