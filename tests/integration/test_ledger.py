"""Commands that change only this database are committed together with their outcome.

Source: docs/reference/authority.md#command-ledger
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from tests.support.factories import make_actor, make_run, publish
from tests.support.own_sweep import sweep_only
from workflows import ledger
from workflows.actors import Actor
from workflows.errors import Conflict
from workflows.ledger import command_open, command_resolve_unknown, command_transaction
from workflows.models import BulkJob, Command, Definition, PayloadSchema, Schedule, Secret, Tenant
from workflows.services import command_reconcile
from workflows.services.bulk import jobs, preview
from workflows.services.command_reconcile import DECIDERS, commands_reconcile, open_commands
from workflows.services.definitions.pause import definition_pause
from workflows.services.idempotency import command_request
from workflows.services.redaction_rules import redaction_rules_save
from workflows.services.schedules.edit import schedule_create
from workflows.services.schedules.field_checks import ScheduleFields
from workflows.services.schemas import schema_save
from workflows.services.secrets import secret_save
from workflows.statuses import CommandAction, CommandState, Role

pytestmark = pytest.mark.usefixtures("database", "no_dispatcher")

RUN = {"id": "s", "type": "state.set", "config": {"state": "DONE"}}


class Killed(BaseException):
    """End of the process. No `except Exception` catches it."""


def kill(*_: Any, **__: Any) -> None:
    raise Killed


@pytest.fixture(autouse=True)
def abandoned_at_once(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_reconcile, "ABANDONED_AFTER", timedelta(0))
    sweep_only(tenant, monkeypatch)


# Name -> the request, and a check of its effect.
CHANGES: dict[str, tuple[Callable[[Actor], Any], Callable[[Tenant], bool]]] = {
    "a secret": (
        lambda actor: secret_save(actor=actor, name="KEY", value="long-enough-value"),
        lambda tenant: Secret.objects.filter(tenant=tenant).exists(),
    ),
    "a schema": (
        lambda actor: schema_save(actor=actor, ref="order", schema={"type": "object"}),
        lambda tenant: PayloadSchema.objects.filter(tenant=tenant, ref="order").exists(),
    ),
    "redaction rules": (
        lambda actor: redaction_rules_save(actor=actor, rules=["/a"]),
        lambda tenant: bool(Tenant.objects.get(id=tenant.id).redaction_rules),
    ),
    "a pause": (
        lambda actor: definition_pause(actor=actor, key="flow", reason="a test"),
        lambda tenant: Definition.objects.get(tenant=tenant, key="flow").is_paused,
    ),
    "a schedule": (
        lambda actor: schedule_create(
            actor=actor, definition_key="flow", fields=ScheduleFields(name="yearly", cron="0 0 1 1 *")
        ),
        lambda tenant: Schedule.objects.filter(tenant=tenant).exists(),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_process_killed_before_the_outcome_has_changed_nothing(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    publish(tenant, RUN)
    request, is_changed = CHANGES[change]
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "commands_finish_in_transaction", kill)
        with pytest.raises(Killed):
            request(make_actor(tenant, Role.ADMIN))
    command = Command.objects.get(tenant=tenant, state=CommandState.REQUESTED)
    assert not is_changed(tenant)
    commands_reconcile(stop_at=time.monotonic() + 60)
    command.refresh_from_db()
    assert (command.state, command.code, "nothing was changed" in command.message) == (
        "failed",
        "NOT_CARRIED_OUT",
        True,
    )
    request(make_actor(tenant, Role.ADMIN))
    assert is_changed(tenant)


def test_process_killed_during_a_bulk_request_has_changed_nothing(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    actor, run = make_actor(tenant), make_run(tenant)
    with monkeypatch.context() as patched:
        patched.setattr(preview, "commands_finish_in_transaction", kill)
        with pytest.raises(Killed):
            preview.bulk_preview(actor=actor, action=CommandAction.CANCEL, ids=[run.id], idempotency_key="k")
    assert not BulkJob.objects.filter(tenant=tenant).exists()
    commands_reconcile(stop_at=time.monotonic() + 60)
    with pytest.raises(Conflict, match="nothing was changed"):
        preview.bulk_preview(actor=actor, action=CommandAction.CANCEL, ids=[run.id], idempotency_key="k")
    job = preview.bulk_preview(actor=actor, action=CommandAction.CANCEL, ids=[run.id])
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "commands_finish_in_transaction", kill)
        with pytest.raises(Killed):
            jobs.bulk_start(actor=actor, job_id=job.id)
    job.refresh_from_db()
    assert job.state == "preview"


def test_change_is_rolled_back_if_the_reconciler_gave_the_command_up(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(Conflict) as raised,
        command_transaction(
            actor=make_actor(tenant), action=CommandAction.PAUSE, target_type="definition", target_id="x"
        ) as command,
    ):
        Tenant.objects.filter(id=tenant.id).update(name="changed")
        Command.objects.filter(id=command.id).update(state=CommandState.FAILED, code="NOT_CARRIED_OUT")
    assert raised.value.code == "REQUEST_GIVEN_UP"
    assert Tenant.objects.get(id=tenant.id).name == tenant.name


def test_repeat_of_a_given_up_request_is_refused(tenant: Any) -> None:
    request = {
        "actor": make_actor(tenant),
        "action": CommandAction.CANCEL,
        "target_type": "run",
        "target_id": "x",
        "idempotency_key": "k",
    }
    command = command_request(**request).command
    command_resolve_unknown(command, CommandState.FAILED, message="Temporal has no request")
    with pytest.raises(Conflict, match="Temporal has no request"):
        command_request(**request)


def test_reconciler_can_resolve_every_action(tenant: Any) -> None:
    """A process can be killed between the ledger row and the check of the role, for every action."""
    undecidable = {CommandAction.SEND_EVENT}  # its event may be stored although the request failed
    assert set(CommandAction) - set(DECIDERS) == undecidable


def test_unresolved_commands_are_found_by_an_index(tenant: Any) -> None:
    command_open(actor=make_actor(tenant), action=CommandAction.PAUSE, target_type="x", target_id="x")
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            plan = open_commands().explain()
        finally:
            cursor.execute("SET enable_seqscan = on")
    assert "workflow_commands_undecided" in plan


def test_command_that_changed_after_the_read_is_not_resolved(tenant: Any) -> None:
    command = command_open(actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id="x")
    Command.objects.filter(id=command.id).update(state=CommandState.ACCEPTED)
    assert not command_resolve_unknown(command, CommandState.FAILED, message="Temporal has no request")
    command.refresh_from_db()
    assert command.state == "accepted"
