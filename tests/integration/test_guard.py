"""Refusal of writes to projections, and of changes of the command ledger, by the database.

Source: docs/reference/authority.md#projection-writers
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.utils import timezone

from tests.support.factories import make_actor, make_run
from workflows.ledger import command_finish, command_open
from workflows.models import Command, DefinitionVersion, Run, RunStep, RunWait
from workflows.projections.transaction import projection_writer
from workflows.statuses import CommandAction, CommandState

REFUSAL = "projection rows follow Temporal"


@contextmanager
def refused(words: str = REFUSAL) -> Iterator[None]:
    with pytest.raises(DatabaseError, match=words), transaction.atomic():
        yield


def sql(statement: str) -> Callable[[Run], None]:
    def run(row: Run) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement.replace("ID", f"'{row.id}'"))

    return run


WRITES: dict[str, Callable[[Run], Any]] = {
    "save": lambda run: run.save(),
    "update": lambda run: Run.objects.filter(id=run.id).update(status="CANCELED"),
    "update of no row": lambda run: Run.objects.filter(id=run.tenant_id).update(status="CANCELED"),
    "delete": lambda run: run.delete(),
    "create": lambda run: RunWait.objects.create(
        tenant_id=run.tenant_id, run=run, kind="event", status="WAITING", opened_at=timezone.now()
    ),
    "bulk_create": lambda run: RunStep.objects.bulk_create(
        [RunStep(tenant_id=run.tenant_id, run=run, started_at=timezone.now())]
    ),
    "bulk_update": lambda run: Run.objects.bulk_update([run], ["status"]),
    "raw update": sql("UPDATE workflow_runs SET status = 'CANCELED' WHERE id = ID"),
    "raw delete": sql("DELETE FROM workflow_run_steps"),
    "raw upsert": sql("INSERT INTO workflow_run_waits SELECT * FROM workflow_run_waits ON CONFLICT DO NOTHING"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITES)
def test_every_kind_of_write_is_refused(tenant: Any, name: str) -> None:
    run = make_run(tenant)
    with refused():
        WRITES[name](run)
    assert Run.objects.get(id=run.id).status == "WAITING"


@pytest.mark.parametrize("name", WRITES)
def test_write_after_a_writer_in_the_same_transaction_is_refused(tenant: Any, name: str) -> None:
    run = make_run(tenant)
    with pytest.raises(DatabaseError, match=REFUSAL), transaction.atomic():
        with projection_writer("activity"):
            Run.objects.filter(id=run.id).update(state="INSIDE")
        WRITES[name](run)


def test_inner_writer_restores_the_marker_of_the_outer_writer(tenant: Any) -> None:
    run = make_run(tenant)
    with projection_writer("activity"):
        with projection_writer("reconciler"):
            Run.objects.filter(id=run.id).update(state="INNER")
        Run.objects.filter(id=run.id).update(state="OUTER")
    assert Run.objects.get(id=run.id).state == "OUTER"


def test_failed_writer_leaves_no_marker(tenant: Any) -> None:
    run = make_run(tenant)
    with transaction.atomic():
        with pytest.raises(RuntimeError), projection_writer("activity"):
            raise RuntimeError
        with refused():
            Run.objects.filter(id=run.id).update(state="AFTER")


@pytest.mark.parametrize(
    "table", ["workflow_runs", "workflow_run_steps", "workflow_run_waits", "workflow_commands", "tenants"]
)
def test_application_role_cannot_truncate_or_alter(tenant: Any, table: str) -> None:
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"TRUNCATE {table} CASCADE")
    with pytest.raises(ProgrammingError, match="must be owner"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")


@pytest.mark.parametrize("table", ["workflow_runs", "workflow_run_steps", "workflow_run_waits"])
def test_owner_cannot_truncate(tenant: Any, table: str) -> None:
    from django.db import connections

    owner = connections["owner"]
    with pytest.raises(DatabaseError, match=REFUSAL), transaction.atomic(using="owner"), owner.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table} CASCADE")


def test_no_foreign_key_into_a_projection_cascades(tenant: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, confdeltype FROM pg_constraint WHERE contype = 'f' AND confrelid IN"
            " ('workflow_runs'::regclass, 'workflow_run_steps'::regclass, 'workflow_run_waits'::regclass)"
        )
        found = cursor.fetchall()
    assert len(found) > 5
    assert {kind for _, kind in found} == {"a"}  # NO ACTION


# -- Command ledger and published versions ----------------------------------------------------------------------------


def opened(tenant: Any) -> Command:
    return command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id="r", reason="why"
    )


@pytest.mark.parametrize("field", ["reason", "actor_name", "target_id", "action"])
def test_request_of_a_command_never_changes(tenant: Any, field: str) -> None:
    command = opened(tenant)
    with refused("permission denied"):
        Command.objects.filter(id=command.id).update(**{field: "changed"})


def test_command_is_never_deleted(tenant: Any) -> None:
    command = opened(tenant)
    with refused("permission denied"):
        Command.objects.filter(id=command.id)._raw_delete("default")


@pytest.mark.parametrize(("before", "after"), [("refused", "accepted"), ("observed", "failed"), ("failed", "observed")])
def test_state_changes_only_along_its_transitions(tenant: Any, before: str, after: str) -> None:
    command = opened(tenant)
    command_finish(command, CommandState(before))
    with refused("Invalid transition"):
        Command.objects.filter(id=command.id).update(state=after)


def test_published_version_is_immutable(tenant: Any) -> None:
    version = make_run(tenant).definition_version
    with refused("Cannot update|cannot update"):
        DefinitionVersion.objects.filter(id=version.id).update(canonical_text="{}")
