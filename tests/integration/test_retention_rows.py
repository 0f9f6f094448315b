"""Deletion of old events, incidents, notifications and other rows.

Source: docs/reference/retention.md#how-rows-are-deleted
"""

from datetime import timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.utils import timezone

from tests.support.old_runs import days_ago, fill_run, make_old_event, make_old_run, prune
from workflows.models import (
    ApiToken,
    BulkItem,
    BulkJob,
    DataStoreEntry,
    Event,
    EventDelivery,
    Incident,
    IncidentFailure,
    IncidentHour,
    IncidentNote,
    Notification,
    OutboxEvent,
    PrunedRun,
)
from workflows.services.tokens import token_issue
from workflows.statuses import Role


def test_closed_incidents_are_deleted_with_their_last_run(tenant: Any) -> None:
    version = make_old_run(tenant).definition_version

    def incident(number: int, **fields: Any) -> Incident:
        values = {"state": "closed", "state_since": days_ago(91), "last_failed_at": days_ago(100), **fields}
        made = Incident.objects.create(
            tenant=tenant, number=number, definition=version.definition, fingerprint=str(number),
            first_failed_at=days_ago(100), **values,
        )  # fmt: skip
        IncidentHour.objects.create(tenant=tenant, incident=made, hour=days_ago(100), version=1, failures=1)
        IncidentNote.objects.create(tenant=tenant, incident=made, author_name="x", text="n")
        return made

    gone = incident(1)
    incident(2, merged_into=gone, state="open")
    kept = [
        incident(3, state="resolved"), incident(4, state_since=days_ago(89)), incident(5, last_failed_at=days_ago(89)),
        incident(6), incident(7),
    ]  # fmt: skip
    IncidentFailure.objects.create(
        tenant=tenant, incident=kept[3], run_id=make_old_run(tenant, days=80).id, failed_at=days_ago(80), version=1,
        origin_id=gone.id, is_counted=True,
    )  # fmt: skip
    kept.append(incident(8, split_from=kept[4], state="open"))
    output = prune(tenant) + prune(tenant)  # the incident that shows a merged one is deleted after it
    assert "workflow_incidents" in output
    assert set(Incident.objects.filter(tenant=tenant)) == set(kept)
    assert IncidentHour.objects.filter(tenant=tenant).count() == IncidentNote.objects.filter(tenant=tenant).count() == 6


def test_old_events_are_deleted_unless_something_refers_to_them(tenant: Any) -> None:
    young, old = make_old_event(tenant, days=80), make_old_event(tenant)
    dead, waiting = make_old_event(tenant), make_old_event(tenant)
    original = make_old_event(tenant, days=120)
    conflict = make_old_event(tenant, days=110, conflict_of=original)
    kept = make_old_event(tenant, days=120)
    young_conflict = make_old_event(tenant, days=1, conflict_of=kept)
    unrouted = make_old_event(tenant, outcome="received", routed_at=None)
    EventDelivery.objects.create(tenant=tenant, event=dead, kind="trigger", status="dead")
    EventDelivery.objects.create(tenant=tenant, event=waiting, kind="trigger", status="pending", next_attempt_at=
                                 timezone.now() + timedelta(days=1))  # fmt: skip
    output = prune(tenant, "--batch", "2")
    assert set(Event.objects.filter(tenant=tenant)) == {young, waiting, kept, young_conflict, unrouted}
    assert {"1 (conflict that is kept)", "1 (not routed yet)"} <= {
        part.strip() for part in output.split("events")[-1].split("kept: ")[-1].splitlines()[0].split(",")
    }
    EventDelivery.objects.filter(tenant=tenant).update(status="discarded")
    Event.objects.filter(id=unrouted.id).delete()
    assert not Event.objects.filter(id__in=[old.id, dead.id, conflict.id]).exists()


def test_other_old_rows_are_deleted(tenant: Any) -> None:
    run = make_old_run(tenant, days=1)
    fill_run(run, make_old_event(tenant))
    now = timezone.now()
    for days in (91, 89):
        at = days_ago(days)
        user = Notification.objects.filter(tenant=tenant).first().user  # type: ignore[union-attr]
        row = Notification.objects.create(tenant=tenant, user=user, idempotency_key=str(days), title="T")
        Notification.objects.filter(id=row.id).update(created_at=at)
        OutboxEvent.objects.create(tenant=tenant, envelope={}, refused_at=at)
        DataStoreEntry.objects.create(tenant=tenant, key=str(days), value=1, expires_at=now + timedelta(days=90 - days))
        token, _ = token_issue(tenant_id=tenant.id, name=str(days), role=Role.VIEWER)
        ApiToken.objects.filter(id=token.id).update(revoked_at=now - timedelta(days=31 * (days - 89)))
        PrunedRun.objects.create(
            tenant=tenant, definition_key=str(days), ended_at=at, retention_days=1, pruned_at=days_ago(days * 8.1)
        )
        job = BulkJob.objects.create(
            tenant=tenant, action="cancel", actor_type="user", actor_name="x", actor_role="operator", source="api",
            state="done", ended_at=at, reason=str(days),
        )  # fmt: skip
        BulkItem.objects.create(tenant=tenant, job=job, position=1, target_id=job.id)
        Session.objects.create(
            session_key=f"{tenant.slug}-{days}"[:40], session_data="", expire_date=now + timedelta(days=90 - days)
        )
    prune(tenant)
    assert set(Notification.objects.filter(tenant=tenant).values_list("title", flat=True)) == {"T"}
    assert Notification.objects.filter(tenant=tenant).count() == 2
    for model, name in (
        (DataStoreEntry, "key"),
        (ApiToken, "name"),
        (PrunedRun, "definition_key"),
        (BulkJob, "reason"),
    ):
        assert list(model.objects.filter(tenant=tenant).values_list(name, flat=True)) == ["89"], model
    assert OutboxEvent.objects.filter(tenant=tenant).count() == 1
    assert BulkItem.objects.filter(tenant=tenant).count() == 1
    assert [key[-2:] for key in Session.objects.filter(session_key__startswith=tenant.slug).values_list(
        "session_key", flat=True)] == ["89"]  # fmt: skip


def test_rows_of_ended_sessions_leave_the_list_of_sessions(tenant: Any) -> None:
    account = get_user_model().objects.create_user(f"maya-{tenant.slug}")
    for name, days, age in (("open", 1, 2), ("expired", -1, 2), ("gone", None, 2), ("starting", None, 0)):
        key = f"{name}-{tenant.slug}"[:40]
        if days is not None:
            expiry = timezone.now() + timedelta(days=days)
            Session.objects.create(session_key=key, session_data="", expire_date=expiry)
        UserSession.objects.create(
            user=account, session_key=key, ip="192.0.2.1", user_agent=name, created_at=days_ago(age)
        )

    def left() -> set[str]:
        return set(UserSession.objects.filter(user=account).values_list("user_agent", flat=True))

    prune(tenant, "--dry-run")
    assert left() == {"open", "expired", "gone", "starting"}
    prune(tenant, "--batch", "1")
    assert left() == {"open", "starting"}


# References to rows that retention deletes. It deletes the row that refers, sets the reference to NULL, or keeps the
# target. A new reference needs a decision in `workflows/projections/retention.py` or `old_events.py`.
REFERENCES = {
    "Run": {
        "ActionInvocation.run", "Command.run", "EventDelivery.run", "HumanTask.run", "Notification.run",
        "Run.parent_run", "Run.replay_of", "Run.root_run", "RunHold.run", "RunLog.run", "RunStep.child_run",
        "RunStep.run", "RunValue.run", "RunWait.run",
    },
    "RunWait": {"EventDelivery.wait", "HumanTask.wait"},
    "RunStep": set(),
    "HumanTask": {"TaskDraft.task"},
    "Event": {
        "Event.conflict_of", "EventDelivery.event", "EventKey.event", "Run.event", "RunWait.event",
        "ScheduleOccurrence.event",
    },
    "EventDelivery": set(),
    "BulkJob": {"BulkItem.job"},
    "Command": {"BulkItem.command", "BulkJob.command", "Command.parent", "CommandEntry.command"},
    "ApiToken": set(),
    "Incident": {
        "BulkJob.incident", "Incident.merged_into", "Incident.split_from", "IncidentFailure.incident",
        "IncidentHour.incident", "IncidentNote.incident",
    },
    "Invitation": set(),
}  # fmt: skip


def test_retention_knows_every_reference_to_the_rows_that_it_deletes() -> None:
    found: dict[str, set[str]] = {name: set() for name in REFERENCES}
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            target = field.remote_field.model.__name__ if field.remote_field else ""
            if target in found:
                found[target].add(f"{model.__name__}.{field.name}")
    assert found == REFERENCES
