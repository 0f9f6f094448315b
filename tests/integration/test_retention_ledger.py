"""Deletion of the beginning of the command ledger: only old links, only as a prefix, only by one database function.

Source: docs/reference/retention.md#command-ledger
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction

from tests.support.factories import make_actor, make_tenant
from tests.support.management_commands import run_command
from tests.support.old_runs import days_ago, make_old_run
from tests.support.table_owner import execute_as_owner
from workflows.ledger import command_finish, command_open
from workflows.models import BulkJob, Command, CommandEntry, LedgerCheckpoint, RunHold, SignInRecord, Tenant
from workflows.services.audit_verify import audit_verify
from workflows.services.retention.old_rows import prune_ledger, prune_sign_ins
from workflows.services.retention.policy import LEAST
from workflows.statuses import CommandAction, CommandState
from workflows.tenancy import tenant_scope


def commands_of(tenant: Tenant, count: int = 3) -> list[Command]:
    """Write commands with two links each: first the links of all requests, then those of the outcomes."""
    opened = [
        command_open(actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(number))
        for number in range(count)
    ]
    for command in opened:
        command_finish(command, CommandState.ACCEPTED)
    return opened


def age(tenant: Tenant, *, days: float, links: int) -> None:
    """Make the first links of the tenant older. The time is not part of the hashes."""
    at = days_ago(days).isoformat()
    execute_as_owner(
        f"UPDATE workflow_command_entries SET written_at = '{at}' WHERE tenant_id = '{tenant.id}' AND seq <= {links}"
    )


def sequences(tenant: Tenant) -> list[int]:
    return list(CommandEntry.objects.filter(tenant=tenant).order_by("seq").values_list("seq", flat=True))


def test_old_links_are_deleted_as_a_prefix_and_the_rest_is_verified(tenant: Any) -> None:
    _, second, third = commands_of(tenant)
    hashes = list(CommandEntry.objects.filter(tenant=tenant).order_by("seq").values_list("hash", flat=True))
    age(tenant, days=731, links=4)
    assert "4 workflow_command_entries" in run_command("prune", "--tenant", tenant.slug, "--dry-run")
    assert len(sequences(tenant)) == 6
    assert "4 workflow_command_entries, 1 workflow_commands" in run_command("prune", "--tenant", tenant.slug)
    # The row of the first command is deleted with its last link. The others keep their later links.
    kept = set(Command.objects.filter(tenant=tenant).exclude(action="prune"))
    assert kept == {second, third}
    point = LedgerCheckpoint.objects.get(tenant=tenant)
    assert (point.seq, point.hash, point.commands) == (4, hashes[3], 1)
    report = audit_verify(tenant_id=tenant.id, expected_hash=hashes[3])
    assert (report.problems, sequences(tenant)[0], report.pruned_links) == ([], 5, 4)
    assert "from link 5 on" in run_command("verify_audit", "--tenant", tenant.slug)
    problems = audit_verify(tenant_id=tenant.id, expected_hash=hashes[0]).problems
    assert "retention deleted the links up to 4" in problems[0]

    age(tenant, days=731, links=5)
    run_command("prune", "--tenant", tenant.slug)
    assert set(Command.objects.filter(tenant=tenant).exclude(action="prune")) == {third}
    assert audit_verify(tenant_id=tenant.id).problems == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE workflow_command_entries SET content = content || ' ' WHERE tenant_id = '{tenant}' AND seq = 2",
        "DELETE FROM workflow_command_entries WHERE tenant_id = '{tenant}' AND seq = 2",
    ],
)
def test_a_manipulated_prefix_is_not_deleted(tenant: Any, change: str) -> None:
    commands_of(tenant)
    age(tenant, days=731, links=4)
    execute_as_owner(change.format(tenant=tenant.id))
    before = sequences(tenant)
    with pytest.raises(CommandError, match="not finished"):
        run_command("prune", "--tenant", tenant.slug)
    assert sequences(tenant) == before
    assert not LedgerCheckpoint.objects.filter(tenant=tenant).exists()
    assert audit_verify(tenant_id=tenant.id).problems


def test_a_manipulation_after_the_checkpoint_is_reported(tenant: Any) -> None:
    commands_of(tenant)
    age(tenant, days=731, links=2)
    prune_ledger(tenant_id=tenant.id, limit=100)
    execute_as_owner(f"DELETE FROM workflow_command_entries WHERE tenant_id = '{tenant.id}' AND seq = 3")
    assert "link 3 is missing" in audit_verify(tenant_id=tenant.id).problems[0]
    with pytest.raises(CommandError, match="does not match its audit chain"):
        call_command("verify_audit", tenant=tenant.slug, stdout=StringIO())


def test_the_command_of_a_stored_bulk_job_ends_the_prefix(tenant: Any) -> None:
    _, second, _ = commands_of(tenant)
    job = BulkJob.objects.create(
        tenant=tenant, action="cancel", actor_type="user", actor_name="x", actor_role="operator", source="api",
        command=second, state="paused",
    )  # fmt: skip
    age(tenant, days=731, links=6)
    assert prune_ledger(tenant_id=tenant.id, limit=100) == (4, 1, "bulk job")
    assert prune_ledger(tenant_id=tenant.id, limit=100) == (0, 0, "bulk job")
    job.delete()
    assert prune_ledger(tenant_id=tenant.id, limit=1) == (1, 1, "")
    assert prune_ledger(tenant_id=tenant.id, limit=100) == (1, 1, "")
    assert audit_verify(tenant_id=tenant.id).problems == []


@pytest.mark.parametrize("target", ["run", "child of its family", "run that was started"])
def test_a_legal_hold_keeps_the_ledger_from_the_first_link_of_the_run(tenant: Any, target: str) -> None:
    held = make_old_run(tenant)
    child = make_old_run(tenant, parent_run=held, root_run=held)
    commands_of(tenant, 2)  # older links, which the hold does not keep
    first = sequences(tenant)[-1] + 1
    run = {"run": held, "child of its family": child}.get(target)
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(held.id), run=run
    )
    commands_of(tenant, 1)
    command_finish(command, CommandState.ACCEPTED)
    hold = RunHold.objects.create(tenant=tenant, run=held, reason="r", held_by_name="x")
    age(tenant, days=731, links=first + 3)
    assert prune_ledger(tenant_id=tenant.id, limit=100)[::2] == (first - 1, "run with a legal hold")
    assert prune_ledger(tenant_id=tenant.id, limit=100, is_dry=True) == (0, 0, "run with a legal hold")
    assert sequences(tenant) == [first, first + 1, first + 2, first + 3]
    assert audit_verify(tenant_id=tenant.id).problems == []
    output = run_command("prune", "--tenant", tenant.slug)
    assert "1 (command of a run with a legal hold that is kept)" in output
    hold.delete()
    assert prune_ledger(tenant_id=tenant.id, limit=100) == (4, 2, "")
    assert audit_verify(tenant_id=tenant.id).problems == []


def test_the_least_period_of_the_ledger_is_in_the_database(tenant: Any) -> None:
    commands_of(tenant)
    Tenant.objects.filter(id=tenant.id).update(ledger_retention_days=0)
    age(tenant, days=LEAST["ledger"] - 0.1, links=6)
    assert prune_ledger(tenant_id=tenant.id, limit=100) == (0, 0, "")
    age(tenant, days=LEAST["ledger"] + 0.1, links=6)
    assert prune_ledger(tenant_id=tenant.id, limit=100) == (6, 3, "")


# -- Attacks -----------------------------------------------------------------------------------------------------------


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(DatabaseError, match="permission denied|Cannot delete|Cannot update"), transaction.atomic():
        yield


ATTACKS = {
    "call of the function": "SELECT * FROM workflow_ledger_prune('{tenant}', 100, false)",
    "row": "DELETE FROM workflow_commands WHERE tenant_id = '{tenant}'",
    "link": "DELETE FROM workflow_command_entries WHERE tenant_id = '{tenant}' AND seq = 1",
    "link in the middle with the marker of the function": (
        "SELECT set_config('pointsman.ledger_prune', 'yes', true);"
        " DELETE FROM workflow_command_entries WHERE tenant_id = '{tenant}' AND seq = 2"
    ),
    "row with the marker of the function": (
        "SELECT set_config('pointsman.ledger_prune', 'yes', true);"
        " DELETE FROM workflow_commands WHERE tenant_id = '{tenant}'"
    ),
    "forged checkpoint": (
        "INSERT INTO workflow_ledger_checkpoints (id, tenant_id, seq, hash, written_at, commands, pruned_at)"
        " VALUES (gen_random_uuid(), '{tenant}', 5, 'x', now(), 0, now())"
    ),
    "moved checkpoint": "UPDATE workflow_ledger_checkpoints SET seq = 5 WHERE tenant_id = '{tenant}'",
    "call of the function of sign-ins": "SELECT sign_in_records_prune('{tenant}', 100, false)",
    "sign-in": "SELECT set_config('pointsman.ledger_prune', 'yes', true); DELETE FROM sign_in_records",
    "deleted checkpoint": "DELETE FROM workflow_ledger_checkpoints WHERE tenant_id = '{tenant}'",
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("role", ["application", "system"])
def test_the_roles_of_the_application_cannot_delete_the_ledger_otherwise(tenant: Any, attack: str, role: str) -> None:
    commands_of(tenant)
    age(tenant, days=731, links=2)
    prune_ledger(tenant_id=tenant.id, limit=100)
    before = sequences(tenant)
    statement = ATTACKS[attack].format(tenant=tenant.id)
    if role == "application":
        with tenant_scope(tenant.id), refused(), connection.cursor() as cursor:
            cursor.execute(statement)
    elif not attack.startswith("call of the function"):
        with refused(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert sequences(tenant) == before
    assert audit_verify(tenant_id=tenant.id).problems == []


def test_the_owner_needs_the_marker(tenant: Any) -> None:
    commands_of(tenant)
    for table in ("workflow_commands", "workflow_command_entries"):
        with pytest.raises(DatabaseError, match="Cannot delete"), connections["owner"].cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE tenant_id = %s", [tenant.id])


@pytest.mark.parametrize("name", ["workflow_ledger_prune", "sign_in_records_prune"])
def test_the_function_has_a_fixed_search_path_and_one_caller(name: str) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT prosecdef, proconfig::text, proacl::text FROM pg_proc WHERE proname = %s", [name])
        is_definer, config, grants = cursor.fetchone()
    assert is_definer
    assert "search_path=pg_catalog, public, pg_temp" in config
    assert settings.DATABASE_SYSTEM_ROLE in grants
    assert settings.DATABASE_APP_ROLE not in grants
    assert not any(grant.startswith("=") for grant in grants.strip("{}").split(","))


def test_each_tenant_has_its_own_checkpoint(tenant: Any) -> None:
    other = make_tenant()
    for each in (tenant, other):
        commands_of(each)
    age(tenant, days=731, links=6)
    prune_ledger(tenant_id=tenant.id, limit=100)
    assert (sequences(tenant), sequences(other)) == ([], [1, 2, 3, 4, 5, 6])
    with tenant_scope(other.id):
        assert not LedgerCheckpoint.objects.exists()
    command_open(actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id="later")
    assert audit_verify(tenant_id=tenant.id).problems == [], "the chain continues after the checkpoint"


def test_old_records_of_sign_ins_are_deleted(tenant: Any) -> None:
    def left() -> list[str]:
        return list(SignInRecord.objects.filter(tenant=tenant).order_by("id").values_list("account_name", flat=True))

    for days in (400, 366, 364, 91, 89):
        SignInRecord.objects.create(tenant=tenant, kind="signed_in", account_name=str(days), at=days_ago(days))
    other = make_tenant()
    SignInRecord.objects.create(tenant=other, kind="signed_in", account_name="other", at=days_ago(364))
    assert "2 sign_in_records" in run_command("prune", "--tenant", tenant.slug, "--dry-run")
    assert "2 sign_in_records" in run_command("prune", "--tenant", tenant.slug, "--batch", "1")
    assert left() == ["364", "91", "89"]
    Tenant.objects.filter(id=tenant.id).update(sign_in_retention_days=0)  # the least period is 90 days
    prune_sign_ins(tenant_id=tenant.id, limit=100)
    assert left() == ["89"]
    assert SignInRecord.objects.filter(tenant=other).count() == 1
