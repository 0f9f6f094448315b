"""Tenant with one row of each kind. All texts contain a mark, so that a test can find them in responses."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.test import override_settings
from django.utils import timezone

from ingress.catalogue import EventTypeFields, event_type_save
from ingress.intake.receive import event_receive
from tests.support.access import SUPERUSER, Caller, api_client, user
from tests.support.factories import make_actor, make_run, make_tenant, publish
from workflows.models import (
    ActionInvocation,
    Command,
    DataStoreEntry,
    Definition,
    EventDelivery,
    HumanTask,
    IdentityProvider,
    Incident,
    IncidentCursor,
    IncidentNote,
    Invitation,
    Notification,
    OutboxEvent,
    Run,
    RunLog,
    RunStep,
    RunWait,
    SavedView,
    ScheduleOccurrence,
    SignInRecord,
    Tenant,
    TenantMembership,
)
from workflows.models.sign_in import provider_id
from workflows.projections.transaction import projection_writer
from workflows.services.bulk.preview import bulk_preview
from workflows.services.connectors import connector_save
from workflows.services.invitation_links import code_hash_of
from workflows.services.ledger_export import ledger_export_create
from workflows.services.schedules.calendars import calendar_save
from workflows.services.schedules.edit import schedule_create
from workflows.services.schedules.field_checks import ScheduleFields
from workflows.services.schemas import schema_save
from workflows.services.secrets import secret_save
from workflows.services.tokens import token_issue
from workflows.sign_in_kinds import SignInKind
from workflows.statuses import CommandAction, EventSource, Role


@dataclass
class FilledTenant:
    tenant: Tenant
    mark: str  # in every text that no address and no request body contains
    ids: dict[str, str]
    users: dict[str, Caller]
    api_clients: dict[str, Caller]


def fill_tenant(mark: str) -> FilledTenant:
    """Create a tenant with rows. `mark` is in capitals. Names and keys contain it in small letters, with a number."""
    tenant = make_tenant(f"{mark} tenant")
    own = f"{mark.lower()}-{tenant.slug}"
    users = {role: user(f"{role}-{own}", role, tenant) for role in (*Role.values, SUPERUSER)}
    api_clients = {role: api_client(role, tenant) for role in Role.values}
    ids = {
        "tenant": str(tenant.id),
        "tenant_slug": tenant.slug,
        "member": f"{Role.OPERATOR}-{own}",
        "app": "workflows",
        "content_type": str(ContentType.objects.get_for_model(Run).pk),
        "user": str(get_user_model().objects.create_user(f"other-{own}").pk),
    }
    _definition_and_run(tenant, mark, own, ids)
    _event(tenant, mark, own, ids)
    _author_and_admin_rows(tenant, mark, own, ids)
    _operator_rows(tenant, mark, own, ids)
    _incidents(tenant, mark, ids)
    _schedule(tenant, mark, own, ids)
    issuer = f"https://{own}.example"
    provider = IdentityProvider.objects.create(
        id=provider_id(tenant.id, issuer), tenant=tenant, name=f"{own}-idp", sign_in_name=tenant.slug, issuer=issuer,
        client_id=f"{mark} client", secret_name="MISSING", roles={f"{mark} group": "viewer"},
    )  # fmt: skip
    ids |= {"identity_provider": provider.name, "identity_provider_row": str(provider.id)}
    SignInRecord.objects.create(tenant=tenant, kind=SignInKind.FAILED, account_name=f"{mark} account")
    for caller in users.values():
        row = Notification.objects.create(
            tenant=tenant, user_id=int(caller.actor_id), idempotency_key=own, title=f"{mark} title", body=mark
        )
        caller.ids["notification"] = str(row.id)
        view = SavedView.objects.create(tenant=tenant, user_id=int(caller.actor_id), user_name=own, name=f"{mark} view")
        caller.ids["saved_view"] = str(view.id)
    ids["saved_view"] = users[Role.ADMIN].ids["saved_view"]
    ids["notification"] = users[Role.ADMIN].ids["notification"]
    return FilledTenant(tenant, mark, ids, users, api_clients)


def _definition_and_run(tenant: Tenant, mark: str, own: str, ids: dict[str, str]) -> None:
    """Create a run of a paused definition.

    A start request passes the role check and is then refused because of the pause. So Temporal gets no request.
    """
    step = {"id": "s", "type": "state.set", "config": {"state": f"{mark} state"}}
    version = publish(tenant, step, key=f"{own}-flow", name=f"{mark} flow")
    error = {"category": "ActionError", "message": f"{mark} error", "nodePath": "x", "at": "y", "details": {"m": mark}}
    run = make_run(
        tenant,
        definition_version=version,
        correlation_key=f"{own}-key",
        state=f"{mark} state",
        input={"text": mark},
        error=error,
        error_category="ActionError",
        trigger_metadata={"eventName": f"{mark} event"},
        requested_by=f"{mark} requester",
        temporal_first_run_id=str(uuid.uuid4()),  # a run with this id is not started again
    )
    Definition.objects.filter(tenant=tenant).update(
        name=f"{mark} name", description=mark, is_paused=True, paused_reason=f"{mark} pause"
    )
    now = timezone.now()
    where = {"tenant": tenant, "run": run}
    with projection_writer("test"):
        RunStep.objects.create(
            **where, step_path="root.steps[0]", step_id="s", step_type="state.set", name=f"{mark} step",
            status="SUCCEEDED", input={"m": mark}, output={"m": mark}, started_at=now,
        )  # fmt: skip
        wait = RunWait.objects.create(
            **where, step_path="root.steps[1]", step_id="w", kind="event", status="WAITING", opened_at=now,
            event_name=f"{own}-event-type", correlation_key=f"{own}-key",
            filters=[{"path": "a", "op": "=", "value": mark}],
        )  # fmt: skip
    RunLog.objects.create(**where, at=now, message=f"{mark} log")
    ActionInvocation.objects.create(
        **where, action_id="http.request", action_version=1, idempotency_key=own, input={"m": mark}, output={"m": mark}
    )
    task = HumanTask.objects.create(
        **where, wait=wait, step_path="root.steps[2]", task_type=f"{own}-task", title=f"{mark} task", description=mark,
        context_data={"m": mark}, correlation_key=f"{own}-key",
    )  # fmt: skip
    ids |= {
        "definition": str(version.definition_id),
        "definition_key": version.definition.key,
        "version": "1",
        "run": str(run.id),
        "workflow_id": run.temporal_workflow_id,
        "wait": str(wait.id),
        "task": str(task.id),
        "correlation_key": run.correlation_key,
    }


def _event(tenant: Tenant, mark: str, own: str, ids: dict[str, str]) -> None:
    value = {
        "event_type": f"{own}-event-type",
        "event_id": f"{own}-event",
        "payload": {"text": mark},
        "workflow_correlation_key": f"{own}-key",
    }
    event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST, sender=f"{mark} sender").event
    delivery = EventDelivery.objects.create(
        tenant=tenant, event=event, kind="wait", run_id=ids["run"], wait_id=ids["wait"], status="dead",
        reason=f"{mark} reason", correlation_key=f"{own}-key", decided_at=timezone.now(),
    )  # fmt: skip
    OutboxEvent.objects.create(
        tenant=tenant, envelope={"m": mark}, sender=f"{mark} app", refused_at=timezone.now(), reason=f"{mark} outbox"
    )
    ids |= {"event": str(event.id), "event_id": event.event_id, "delivery": str(delivery.id)}


def _author_and_admin_rows(tenant: Tenant, mark: str, own: str, ids: dict[str, str]) -> None:
    actor = make_actor(tenant, name=f"{mark} actor")
    schema = schema_save(
        actor=actor, ref=f"{own}.v1", schema={"type": "object", "title": mark}, title=f"{mark} title"
    ).row
    fields = EventTypeFields(description=f"{mark} description", correlation_paths=["ticketId"])
    entry = event_type_save(actor=actor, name=f"{own}-event-type", fields=fields).row
    name = own.upper().replace("-", "_")
    secret, _ = secret_save(actor=actor, name=name, value=f"{mark} value", description=f"{mark} secret")
    spec = {"label": f"{mark} connector", "url": "https://example.org/", "description": mark}
    spec["input_schema"] = {"type": "object", "title": mark}
    connector = connector_save(actor=actor, action_id=f"{own}.call", spec=spec).row
    DataStoreEntry.objects.create(tenant=tenant, key=own, value={"m": mark})
    token, _ = token_issue(tenant_id=tenant.id, name=f"{mark} token", role=Role.VIEWER)
    account = get_user_model().objects.create_user(f"{own}-member", email=f"{own}@example.org")
    membership = TenantMembership.objects.create(tenant=tenant, user=account, role=Role.VIEWER)
    invitation = Invitation.objects.create(
        tenant=tenant,
        email=f"{own}-invited@example.org",
        role=Role.VIEWER,
        code_hash=code_hash_of(own),
        created_by_name=f"{mark} inviter",
        expires_at=timezone.now() + timedelta(days=1),
    )
    with override_settings(LEDGER_EXPORT_KEYS={"test": b"k" * 32}):
        export = ledger_export_create(actor=actor)
    ids |= {
        "ledger_export": str(export.id),
        "invitation": str(invitation.id),
        "token": str(token.id),
        "member": account.get_username(),
        "membership": str(membership.id),
        "schema": str(schema.id),
        "schema_ref": schema.ref,
        "event_type": str(entry.id),
        "event_type_name": entry.name,
        "connector": str(connector.id),
        "connector_action": connector.action_id,
        "connector_version": str(connector.version),
        "secret": str(secret.id),
        "secret_name": secret.name,
    }


def _operator_rows(tenant: Tenant, mark: str, own: str, ids: dict[str, str]) -> None:
    actor = make_actor(tenant, name=f"{mark} actor")
    jobs = {
        "bulk_job": CommandAction.CANCEL,
        "terminate_job": CommandAction.TERMINATE,
        "replay_job": CommandAction.REPLAY,
    }
    for name, action in jobs.items():
        runs = Run.objects.filter(tenant=tenant)
        job = bulk_preview(
            actor=actor, action=action, runs=runs, selection={"filters": {"m": mark}}, reason=f"{mark} bulk"
        )
        ids[name] = str(job.id)
    command = Command.objects.filter(tenant=tenant, action=CommandAction.BULK).latest("requested_at")
    ids["command"] = str(command.id)


def _incidents(tenant: Tenant, mark: str, ids: dict[str, str]) -> None:
    """Create an incident with a message to split, one of the same definition, and a closed one that is merged."""
    now = timezone.now()
    fields = {
        "tenant": tenant, "definition_id": ids["definition"], "error_code": f"{mark} code", "run_count": 2,
        "message": f"{mark} message", "step_name": f"{mark} step", "first_failed_at": now, "last_failed_at": now,
    }  # fmt: skip
    first, second = (Incident.objects.create(**fields, number=n, fingerprint=f"{n}") for n in (1, 2))
    merged = Incident.objects.create(**fields, number=3, fingerprint="3", state="closed", merged_into=second)
    IncidentCursor.objects.create(tenant=tenant, last_number=3)
    IncidentNote.objects.create(tenant=tenant, incident=first, author_name=f"{mark} author", text=f"{mark} note")
    ids |= {"incident": str(first.id), "closed_incident": str(merged.id)}


def _schedule(tenant: Tenant, mark: str, own: str, ids: dict[str, str]) -> None:
    actor = make_actor(tenant, name=f"{mark} actor")
    calendar = calendar_save(actor=actor, name=f"{mark} calendar", weekend=[6, 7], holidays={"2030-01-01": mark})
    fields = ScheduleFields(name=f"{mark} schedule", cron="0 0 1 1 *", payload={"m": mark})
    schedule = schedule_create(actor=actor, definition_key=ids["definition_key"], fields=fields)
    ScheduleOccurrence.objects.create(
        tenant=tenant, schedule=schedule, scheduled_at=timezone.now(), cause="scheduled", overlap="skip",
        status="skipped", reason=f"{mark} skip",
    )  # fmt: skip
    ids |= {"schedule": str(schedule.id), "calendar": str(calendar.id)}


def identifying_texts(filled: FilledTenant) -> list[str]:
    """Return the texts that reveal rows of this tenant: mark, ids, names, slug."""
    shared = {"app", "content_type", "user", "connector_version", "version"}
    accounts = get_user_model().objects.filter(pk__in=[caller.actor_id for caller in filled.users.values()])
    ids = {value for key, value in filled.ids.items() if key not in shared}
    return [filled.mark, *sorted(ids), *(account.get_username() for account in accounts), filled.tenant.slug]
