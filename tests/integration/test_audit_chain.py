"""The ledger is append-only, and the audit chain reveals every manipulation.

Source: docs/reference/authority.md#command-ledger
"""

import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, close_old_connections, connection, connections, transaction

from tests.support.factories import make_actor, make_tenant
from tests.support.old_runs import days_ago
from tests.support.system_scope import in_system_scope
from tests.support.table_owner import execute_as_owner
from workflows.errors import InputInvalid
from workflows.ledger import command_finish, command_open, command_transaction
from workflows.models import Command, CommandEntry, LedgerCheckpoint, Tenant
from workflows.services import audit_verify as audit_verify_module
from workflows.services.audit_verify import audit_verify
from workflows.services.retention.old_rows import prune_ledger
from workflows.statuses import CommandAction, CommandState
from workflows.tenancy import tenant_scope


def in_another_process(work: Callable[[], Any]) -> None:
    """Do the work on another connection, and wait for it."""

    @in_system_scope
    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.fixture
def commands(tenant: Any) -> list[Command]:
    """Return three commands of the tenant. The first is accepted. The tenant also has a refused command."""
    actor = make_actor(tenant)
    opened = [
        command_open(actor=actor, action=CommandAction.CANCEL, target_type="run", target_id=f"r{number}")
        for number in range(3)
    ]
    command_finish(opened[0], CommandState.ACCEPTED)
    with pytest.raises(InputInvalid), command_transaction(
        actor=actor, action=CommandAction.PUBLISH, target_type="definition", target_id="d"
    ):  # fmt: skip
        raise InputInvalid("wrong")
    return opened


def test_every_state_change_of_a_command_adds_a_link(tenant: Any, commands: list[Command]) -> None:
    report = audit_verify(tenant_id=tenant.id)
    assert (report.problems, report.commands, report.links) == ([], 4, 6)
    output = StringIO()
    call_command("verify_audit", tenant=tenant.slug, expect=report.last_hash, stdout=output)
    assert output.getvalue().strip() == f"{tenant.slug}: intact: 4 commands, 6 links, last hash {report.last_hash}"


def test_each_tenant_has_its_own_chain(tenant: Any, commands: list[Command]) -> None:
    other = make_tenant()
    command_open(actor=make_actor(other), action=CommandAction.CANCEL, target_type="run", target_id="x")
    assert [entry.seq for entry in CommandEntry.objects.filter(tenant=other)] == [1]


@contextmanager
def triggers_off() -> Any:
    """Yield a cursor of the tables' owner, with all triggers switched off."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        try:
            yield cursor
        finally:
            cursor.execute("SET session_replication_role = origin")


OTHER_ID = "00000000-0000-0000-0000-000000000001"
CHANGES: dict[str, tuple[str, str]] = {
    "text of a row": (
        "UPDATE workflow_commands SET reason = 'another' WHERE id = %(id)s",
        "changed without a link: reason",
    ),
    "state of a row": (
        "UPDATE workflow_commands SET state = 'failed' WHERE id = %(id)s",
        "changed without a link: state",
    ),
    "deleted row": ("DELETE FROM workflow_commands WHERE id = %(id)s", "has links and no row"),
    "text of a link": (
        "UPDATE workflow_command_entries SET content = replace(content, 'cancel', 'replay') WHERE command_id = %(id)s",
        "does not match its hash",
    ),
    "deleted link": (
        "DELETE FROM workflow_command_entries WHERE seq = 2 AND tenant_id = %(tenant)s",
        "link 2 is missing",
    ),
    "deleted last links": (
        "DELETE FROM workflow_command_entries WHERE seq > 4 AND tenant_id = %(tenant)s",
        "no longer in the chain",
    ),
    "inserted row": (
        "INSERT INTO workflow_commands SELECT "
        "(jsonb_populate_record(c, jsonb_build_object('id', '" + OTHER_ID + "'))).* "
        "FROM workflow_commands c WHERE id = %(id)s",
        "has no link",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_manipulation_is_reported(tenant: Any, commands: list[Command], change: str) -> None:
    before = audit_verify(tenant_id=tenant.id)
    statement, message = CHANGES[change]
    with triggers_off() as cursor:
        cursor.execute(statement, {"id": commands[0].id, "tenant": tenant.id})
    try:
        problems = audit_verify(tenant_id=tenant.id, expected_hash=before.last_hash).problems
        assert any(message in problem for problem in problems), problems
        with pytest.raises(CommandError, match="does not match its audit chain"):
            call_command("verify_audit", tenant=tenant.slug, expect=before.last_hash, stdout=StringIO())
    finally:
        with triggers_off() as cursor:
            cursor.execute("DELETE FROM workflow_commands WHERE id = %s", [OTHER_ID])


def test_a_request_that_was_rewritten_with_a_new_link_is_reported(tenant: Any, commands: list[Command]) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE workflow_commands DISABLE TRIGGER pgtrigger_request_is_fixed_3b807")
        try:
            cursor.execute("UPDATE workflow_commands SET reason = 'another' WHERE id = %s", [commands[0].id])
        finally:
            cursor.execute("ALTER TABLE workflow_commands ENABLE TRIGGER pgtrigger_request_is_fixed_3b807")
    assert audit_verify(tenant_id=tenant.id).problems == [
        f"the request of command {commands[0].id} was changed after it became part of the audit chain: reason"
    ]


def test_ledger_that_grows_during_its_verification_is_intact(
    tenant: Any, commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    links = audit_verify_module._links

    def add() -> None:
        command_finish(commands[1], CommandState.ACCEPTED)
        command_open(actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id="late")

    def links_and_then_more(tenant_id: Any) -> Any:
        yield from links(tenant_id)
        in_another_process(add)

    monkeypatch.setattr(audit_verify_module, "_links", links_and_then_more)
    report = audit_verify(tenant_id=tenant.id)
    assert (report.problems, report.links, report.commands) == ([], 6, 4)


def test_ledger_that_retention_shortens_during_its_verification_is_intact(
    tenant: Any, commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    links = audit_verify_module._links
    execute_as_owner(
        f"UPDATE workflow_command_entries SET written_at = '{days_ago(731).isoformat()}'"
        f" WHERE tenant_id = '{tenant.id}' AND seq <= 3"
    )

    def prune_and_then_links(tenant_id: Any) -> Any:
        in_another_process(lambda: prune_ledger(tenant_id=tenant.id, limit=100))
        yield from links(tenant_id)

    monkeypatch.setattr(audit_verify_module, "_links", prune_and_then_links)
    assert audit_verify(tenant_id=tenant.id).problems == []
    assert LedgerCheckpoint.objects.get(tenant=tenant).seq == 3


def test_audit_chain_causes_no_deadlock(tenant: Any, commands: list[Command]) -> None:
    """One transaction writes the ledger and then locks a row. The other locks the row first."""
    both_have_the_first = threading.Barrier(2, timeout=60)
    errors: list[DatabaseError] = []

    def lock() -> None:
        Tenant.objects.select_for_update(no_key=True).get(id=tenant.id)

    def work(steps: list[Callable[[], None]]) -> None:
        try:
            with tenant_scope(tenant.id), transaction.atomic():
                steps[0]()
                both_have_the_first.wait()
                steps[1]()
        except DatabaseError as error:
            errors.append(error)
        finally:
            connection.close()

    finish = [partial(command_finish, command, CommandState.ACCEPTED) for command in commands[1:]]
    orders = [[finish[0], lock], [lock, finish[1]]]
    threads = [threading.Thread(target=work, args=(steps,)) for steps in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert audit_verify(tenant_id=tenant.id).problems == []


WRITES: dict[str, Callable[[CommandEntry], Any]] = {
    "update": lambda entry: CommandEntry.objects.filter(id=entry.id).update(content="x"),
    "delete": lambda entry: entry.delete(),
    "insert": lambda entry: CommandEntry.objects.create(
        tenant_id=entry.tenant_id, seq=99, command_id=entry.command_id, content="x", hash="x"
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_application_can_only_read_the_chain(tenant: Any, commands: list[Command], write: str) -> None:
    entry = CommandEntry.objects.filter(tenant=tenant).first()
    assert entry is not None
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        WRITES[write](entry)


def test_concurrent_commands_form_one_chain(tenant: Any) -> None:
    actor = make_actor(tenant)

    def write_commands(number: int) -> None:
        try:
            with tenant_scope(tenant.id):
                for index in range(10):
                    command = command_open(
                        actor=actor, action=CommandAction.CANCEL, target_type="run", target_id=f"{number}-{index}"
                    )
                    command_finish(command, CommandState.ACCEPTED)
        finally:
            close_old_connections()
            connection.close()

    threads = [threading.Thread(target=write_commands, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = audit_verify(tenant_id=tenant.id)
    assert (report.problems, report.commands, report.links) == ([], 40, 80)


# -- Rights of the application ----------------------------------------------------------------------------------------


def ignored_triggers(cursor: Any) -> None:
    """Ask pgtrigger to ignore every trigger of the database, for this transaction."""
    cursor.execute("SELECT array_agg(tgname)::text FROM pg_trigger WHERE NOT tgisinternal")
    cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", cursor.fetchone())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE workflow_commands SET reason = 'another' WHERE id = %s",
        "UPDATE workflow_commands SET actor_name = 'another' WHERE id = %s",
        "UPDATE workflow_commands SET state = 'refused', payload = '{}' WHERE id = %s",
        "DELETE FROM workflow_commands WHERE id = %s",
    ],
)
@pytest.mark.parametrize("login", ["default", "owner"])
def test_a_request_is_fixed_even_if_pgtrigger_shall_ignore_its_triggers(
    commands: list[Command], statement: str, login: str
) -> None:
    with (
        pytest.raises(DatabaseError, match="permission denied|Cannot update|Cannot delete"),
        transaction.atomic(using=login),
        connections[login].cursor() as cursor,
    ):
        ignored_triggers(cursor)
        cursor.execute(statement, [commands[0].id])


def test_state_moves_along_its_transitions_even_if_pgtrigger_shall_ignore_its_triggers(commands: list[Command]) -> None:
    with (
        pytest.raises(DatabaseError, match="Invalid transition"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        ignored_triggers(cursor)
        cursor.execute("UPDATE workflow_commands SET state = 'requested' WHERE id = %s", [commands[0].id])


@pytest.mark.parametrize("role", ["pointsman_app", "pointsman_system"])
def test_the_roles_cannot_create_objects_or_use_the_function_of_the_chain(role: str, database: Any) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT has_function_privilege(%(role)s, 'workflow_audit_link()', 'EXECUTE'),"
            " has_database_privilege(%(role)s, current_database(), 'TEMPORARY'),"
            " has_schema_privilege(%(role)s, 'public', 'CREATE')",
            {"role": role},
        )
        assert cursor.fetchone() == (False, False, False)


def test_every_function_that_runs_as_its_owner_has_a_fixed_search_path(database: Any) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT proname, array_to_string(proconfig, ',') FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace AND (prosecdef OR proname LIKE 'workflow\\_audit\\_%%')"
        )
        found = dict(cursor.fetchall())
    path = "search_path=pg_catalog, public, pg_temp"
    assert len(found) > 3
    assert set(found.values()) == {path}
