"""Commands and targets of ledger rows in words, with links (docs/reference/screens.md#command-ledger)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Q, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Concat
from django.urls import reverse

from workflows.event_redaction import EventRedaction
from workflows.models import BulkJob, Command, Definition, Event, HolidayCalendar, Incident, Run, Schedule
from workflows.models.fields import short_id
from workflows.redaction import Rules
from workflows.services.bulk.selectors import TARGET as BULK_JOB
from workflows.services.bulk.selectors import job_title, left_out_of_job
from workflows.status_marks import COMMAND, EVENT, Mark
from workflows.statuses import CommandAction, EventOutcome

DEFINITION, RUN = "definition", "run"
# Other targets that have an id: the model, its name, and the rows that have a page.
NAMED: dict[str, tuple[type[Schedule | HolidayCalendar | Incident], Combinable, Q]] = {
    "schedule": (Schedule, Cast("name", TextField()), Q(removed_at__isnull=True)),
    "holiday calendar": (HolidayCalendar, Cast("name", TextField()), Q()),
    "incident": (Incident, Concat(Value("INC-"), Cast("number", TextField()), output_field=TextField()), Q()),
}
# What a command about a bulk job requests, by the operation in its payload.
OPERATIONS = {
    "preview": "Preview bulk job",
    "start": "Start bulk job",
    "pause": "Pause bulk job",
    "resume": "Resume bulk job",
    "stop": "Stop bulk job",
    "retry_failures": "Retry failures of bulk job",
}


@dataclass(frozen=True)
class LedgerTarget:
    """Target of a command. `name` is a key or another foreign text, `note` the short id. Texts can be empty."""

    kind: str
    name: str = ""
    note: str = ""
    url: str = ""


class LedgerRow(NamedTuple):
    """A command, its name in words, its target, the mark of its state, and what became of the event that it sent.

    The state `observed` of a sent event means that the event is stored. So its mark is green only if a run has used it.
    """

    command: Command
    name: str
    target: LedgerTarget
    mark: Mark
    effect: Mark | None = None
    effect_text: str = ""


def ledger_rows(commands: Sequence[Command], *, tenant_id: uuid.UUID, rules: Rules) -> list[LedgerRow]:
    """Return the commands of `ledger_search` with their targets. The ledger is kept longer than runs.

    Cost: five statements, and fewer if some of these kinds are no target.
    """
    events = _events(commands, tenant_id)
    known = {
        **_runs({run_id for command in commands if (run_id := _run_id(command))}, tenant_id),
        **_jobs({command.target_id for command in commands if command.target_type == BULK_JOB}, tenant_id),
        **_named(commands, tenant_id),
    }
    definitions = _definitions(
        {command.target_id for command in commands if command.target_type == DEFINITION}, tenant_id
    )
    rows = []
    for command in commands:
        places = definitions if command.target_type == DEFINITION and command.run_id is None else known
        target = places.get(str(command.run_id or command.target_id)) or _other(command)
        name = OPERATIONS.get(getattr(command, "operation", ""), command.get_action_display())
        mark = COMMAND[command.state]
        event = events.get(_event_id(command))
        if event is not None:
            rows.append(_event_row(command, name, event, rules))
        elif _refused_lines(command):
            rows.append(LedgerRow(command, name, target, mark._replace(tone="amber"), None, _refused_lines(command)))
        else:
            rows.append(LedgerRow(command, name, target, mark))
    return rows


def _run_id(command: Command) -> str:
    """Return the id of the run. A command that starts a run is older than the run, so it has the id as its target."""
    target = command.target_id if command.target_type == RUN and _is_id(command.target_id) else ""
    return str(command.run_id or target)


def _sent(command: Command) -> dict[str, Any]:
    """Return the details of a command that sent events. Details of other commands are not read."""
    details = getattr(command, "sent", None) if "details" in command.get_deferred_fields() else command.details
    return details if command.action == CommandAction.SEND_EVENT and isinstance(details, dict) else {}


def _event_id(command: Command) -> str:
    return str(_sent(command).get("id", ""))


def _refused_lines(command: Command) -> str:
    """Return what became of the lines of a file with events, if the intake refused some of them."""
    counts = _sent(command)
    if not counts.get("refused"):
        return ""
    return f"{counts.get('new', 0):,} new, {counts['refused']:,} refused"


def _events(commands: Sequence[Command], tenant_id: uuid.UUID) -> dict[str, Event]:
    """Return the events that these commands sent, without their payloads."""
    ids = {event_id for command in commands if _is_id(event_id := _event_id(command))}
    rows = Event.objects.filter(tenant_id=tenant_id, id__in=ids).defer("payload") if ids else ()
    for row in rows:
        row.__dict__["values_omitted"] = {"payload"}
    return {str(row.id): row for row in rows}


def _event_row(command: Command, name: str, event: Event, rules: Rules) -> LedgerRow:
    redaction, effect = EventRedaction(event, rules), EVENT[event.shown_outcome]
    key = ", ".join(redaction.keys(event.correlation_keys))
    url = reverse("admin:workflows_event_change", args=[event.id])
    target = LedgerTarget(event.event_type, key, short_id(event.id), url)
    mark = COMMAND[command.state]
    mark = mark if event.outcome == EventOutcome.DELIVERED else mark._replace(tone="grey")
    return LedgerRow(command, name, target, mark, effect, redaction.reason(event.shown_reason))


def _runs(ids: set[str], tenant_id: uuid.UUID) -> dict[str, LedgerTarget]:
    runs = Run.objects.filter(tenant_id=tenant_id, id__in=ids).select_related("definition")
    return {
        str(run.id): LedgerTarget(
            run.definition.name, run.correlation_key, short_id(run.id),
            reverse("admin:workflows_run_change", args=[run.id]),
        )
        for run in runs.only("correlation_key", "definition__name")
    }  # fmt: skip


def _jobs(ids: set[str], tenant_id: uuid.UUID) -> dict[str, LedgerTarget]:
    jobs = BulkJob.objects.filter(tenant_id=tenant_id, id__in=filter(_is_id, ids)).only("action", "total")
    jobs = jobs.annotate(left_out=left_out_of_job())
    return {
        str(job.id): LedgerTarget(
            job_title(job, job.left_out), "", short_id(job.id),
            reverse("admin:workflows_bulkjob_change", args=[job.id]),
        )
        for job in jobs
    }  # fmt: skip


def _named(commands: Sequence[Command], tenant_id: uuid.UUID) -> dict[str, LedgerTarget]:
    """Return the targets of the kinds of NAMED. Cost: one statement for all kinds."""
    parts = []
    for kind, (model, name, with_page) in NAMED.items():
        ids = {command.target_id for command in commands if command.target_type == kind and _is_id(command.target_id)}
        if ids:
            has_page = ExpressionWrapper(with_page, BooleanField()) if with_page else Value(True)
            rows = model.objects.filter(tenant_id=tenant_id, id__in=ids).order_by()
            parts.append(rows.values_list(Value(kind), "id", name, has_page))
    found = parts[0].union(*parts[1:], all=True) if parts else ()
    return {
        str(id_): LedgerTarget(kind.capitalize(), name, short_id(id_), _page(kind, id_) if has_page else "")
        for kind, id_, name, has_page in found
    }


def _page(kind: str, id_: uuid.UUID) -> str:
    return reverse(f"admin:workflows_{kind.replace(' ', '')}_change", args=[id_])


def _definitions(keys: set[str], tenant_id: uuid.UUID) -> dict[str, LedgerTarget]:
    """Return the definitions with these keys. A deleted definition has no page, so it is not among them."""
    found = Definition.objects.filter(tenant_id=tenant_id, key__in=keys, deleted_at__isnull=True)
    return {
        key: LedgerTarget("Definition", name, key, reverse("admin:workflows_definition_change", args=[definition]))
        for key, name, definition in found.values_list("key", "name", "id")
    }


def _other(command: Command) -> LedgerTarget:
    kind, name = command.target_type.replace("_", " ").capitalize(), command.target_id
    return LedgerTarget(kind, note=short_id(name)) if _is_id(name) else LedgerTarget(kind, name)


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
