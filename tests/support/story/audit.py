"""Chapter "audit": job 31 with its replays, the cancel of PAY-094, notes of the publications, schedules and secrets."""

from datetime import timedelta
from typing import Any

from tests.support.story.payments import JOB_MINUTES, tell_replays
from tests.support.story.people import Desk
from workflows.models import (
    BulkItem,
    BulkJob,
    Command,
    HolidayCalendar,
    IdentityProvider,
    Invitation,
    Notification,
    Run,
    SavedView,
    Schedule,
)
from workflows.models.fields import new_id
from workflows.models.sign_in import provider_id
from workflows.services.bulk.selectors import TARGET as BULK_JOB
from workflows.services.invitation_links import code_hash_of
from workflows.services.secrets import secret_save
from workflows.statuses import CommandAction, CommandState, Role
from workflows.temporal.schedules import PREFIX


def tell_audit(desk: Desk, runs: dict[str, Run]) -> None:
    failed = {key: run for key, run in runs.items() if key.startswith("PAY-") and run.status == "FAILED"}
    _job_31(desk, failed, tell_replays(desk, failed))
    run = runs["PAY-094"]
    _command(
        desk, "Jonas", CommandAction.CANCEL, run.definition_key, minutes=54.03, run=run, observed=1.7,
        reason="Customer paid twice, finance asked to stop.",
    )  # fmt: skip
    for first_name, minutes, note in (
        ("Ines", 287, "Use the new capture path"),
        ("Tomas", 4, "Use the old path again"),
    ):
        _command(desk, first_name, CommandAction.PUBLISH, "payment-capture", minutes=minutes, reason=note)
    _command(desk, "Ines", CommandAction.PAUSE, "card-renewal", minutes=297, reason="issuer test window")
    _schedules(desk)
    HolidayCalendar.objects.create(tenant=desk.tenant, name="Germany", holidays={"2026-12-25": "Christmas Day"})
    secret_save(actor=desk.actor("Nora"), name="BANK_TOKEN", value="not a real token", description="Token of the bank")
    _sign_in(desk)
    for user in desk.users.values():
        _own_rows(desk, user)


def _sign_in(desk: Desk) -> None:
    """Create an invitation that nobody has accepted, and the identity provider of the tenant."""
    slug = desk.tenant.slug
    Invitation.objects.create(
        tenant=desk.tenant, email="lena.okafor@northgate.example", role=Role.OPERATOR, code_hash=code_hash_of(slug),
        created_by_name="Nora Falk", expires_at=desk.at(-3 * 24 * 60),
    )  # fmt: skip
    issuer = f"https://login.{slug}.example"
    IdentityProvider.objects.create(
        id=provider_id(desk.tenant.id, issuer), tenant=desk.tenant, name="northgate", sign_in_name=slug, issuer=issuer,
        client_id="pointsman", secret_name="BANK_TOKEN", roles={"desk-operators": "operator"},
    )  # fmt: skip


def _own_rows(desk: Desk, user: Any) -> None:
    """Create the rows that only this member sees."""
    SavedView.objects.create(
        tenant=desk.tenant, user=user, user_name=user.get_full_name(), name="Payments, failed",
        query="status__exact=FAILED&definition=payment-capture",
    )  # fmt: skip
    for severity, title, minutes in (
        ("error", "41 runs of Payment capture failed", 9),
        ("info", "Job 31 has ended", 7),
    ):
        Notification.objects.create(
            tenant=desk.tenant, user=user, severity=severity, title=title, idempotency_key=title,
            body="Read the incident before you replay the runs.", created_at=desk.at(minutes),
        )  # fmt: skip


def _command(
    desk: Desk,
    first_name: str,
    action: CommandAction,
    target: str,
    *,
    minutes: float,
    run: Run | None = None,
    reason: str = "",
    observed: float = 0.0,
    parent: Command | None = None,
    **more: Any,
) -> Command:
    actor, at = desk.actor(first_name), desk.at(minutes)
    return Command.objects.create(
        tenant=desk.tenant,
        action=action,
        target_type=more.pop("target_type", "run" if run else "definition"),
        target_id=str(run.id) if run else target,
        run=run,
        actor_type=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        source=actor.source,
        reason=reason,
        parent=parent,
        state=CommandState.OBSERVED,
        requested_at=at,
        decided_at=at + timedelta(milliseconds=38),
        observed_at=at + timedelta(seconds=observed),
        **more,
    )


def _job_31(desk: Desk, failed: dict[str, Run], replays: dict[str, Run]) -> None:
    actor, started = desk.actor("Jonas"), desk.at(JOB_MINUTES + 0.2)
    reason = "The bank said the path works now."
    job_id = new_id()
    job_command = _command(
        desk, "Jonas", CommandAction.BULK, str(job_id), minutes=JOB_MINUTES + 0.2, reason=reason, target_type=BULK_JOB,
        payload={"operation": "start", "action": "replay"},
    )  # fmt: skip
    job = BulkJob.objects.create(
        id=job_id, tenant=desk.tenant, action=CommandAction.REPLAY, reason=reason, actor_type=actor.kind,
        actor_id=actor.id, actor_name=actor.name, actor_role=actor.role, source=actor.source, command=job_command,
        state="done",
        selection={"filters": {"definition": "payment-capture", "version": 2, "status": "FAILED"}},
        total=len(failed), created_at=started, started_at=started, ended_at=desk.at(JOB_MINUTES - 1),
        rate_per_second=5,
    )  # fmt: skip
    for position, (key, run) in enumerate(sorted(failed.items())):
        command = _command(
            desk, "Jonas", CommandAction.REPLAY, key, minutes=JOB_MINUTES, run=run, reason=reason, parent=job_command
        )
        Command.objects.filter(id=command.id).update(details={"runId": str(replays[key].id)})
        BulkItem.objects.create(
            tenant=desk.tenant, job=job, position=position, target_id=run.id,
            target_label=f"{run.definition_key}@2 {key}", status_then="FAILED", state="accepted", command=command,
            new_run_id=replays[key].id, attempts=1, decided_at=desk.at(JOB_MINUTES),
        )  # fmt: skip


def _schedules(desk: Desk) -> None:
    for key, name, cron, minutes in (
        ("daily-settlement", "weekdays 13:15", "15 13 * * 1-5", -1388), ("invoice-dunning", "hourly", "0 * * * *", -52),
    ):  # fmt: skip
        definition = desk.versions[key, {"daily-settlement": 5, "invoice-dunning": 7}[key]].definition
        schedule_id = new_id()
        Schedule.objects.create(
            id=schedule_id, tenant=desk.tenant, definition=definition, name=name, origin="portal",
            kind="recurring", cron=cron, time_zone="Europe/Berlin", temporal_schedule_id=f"{PREFIX}{schedule_id}",
            next_run_at=desk.at(minutes), last_run_at=desk.at(52), last_synced_at=desk.at(1),
            created_by_name="Ines Alvarez",
        )  # fmt: skip
